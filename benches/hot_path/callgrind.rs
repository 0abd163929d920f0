//! Runs one row under callgrind, and reads what callgrind wrote.

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
    env, fs,
    process::Command,
};

/// How many requests are counted.
pub(crate) const SENDS: usize = 100;

/// What one request executes.
pub(crate) struct Counted {
    pub(crate) instructions: u64,
    pub(crate) allocations: u64,
    /// The distinct 64-byte lines of code of all requests together.
    pub(crate) lines: usize,
}

/// Counts what the row executes in `provider::send_all`, which is never inlined.
pub(crate) fn count(row: &str) -> Result<Counted, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let file = env::temp_dir().join(format!("hot_path.{}", std::process::id()));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-instr=yes", "--compress-pos=no"])
        .args(["--compress-strings=no", "--collect-atstart=no"])
        .args([
            "--toggle-collect=*provider*send_all*",
            "--zero-before=*provider*send_all*",
        ])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(["row", row])
        .output()
        .map_err(|error| format!("cannot run valgrind, which counts: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let written = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    let _ = fs::remove_file(&file);
    Ok(read(&written))
}

/// Reads the format of <https://valgrind.org/docs/manual/cl-format.html>.
fn read(written: &str) -> Counted {
    let mut lines = HashSet::new();
    let mut instructions = 0;
    // How often the first instruction of each function of the allocator was executed. Callgrind's own
    // numbers of calls have those of the requests that are not counted, too.
    let mut entered: HashMap<&str, (u64, u64)> = HashMap::new();
    let mut function = "";
    let mut rows = written.lines();
    while let Some(row) = rows.next() {
        if let Some(name) = row.strip_prefix("fn=") {
            function = name;
        } else if row.starts_with("calls=") {
            // The row after it has what the callee executed, which the callee's own rows have too.
            rows.next();
        } else if let Some((address, executed)) = cost(row) {
            lines.insert(address / 64);
            instructions += executed;
            if ALLOCATOR.contains(&function) {
                let first = entered.entry(function).or_insert((address, 0));
                match address.cmp(&first.0) {
                    Ordering::Less => *first = (address, executed),
                    Ordering::Equal => first.1 += executed,
                    Ordering::Greater => {}
                }
            }
        }
    }
    let allocations: u64 = entered.values().map(|(_, executed)| executed).sum();
    let sends = SENDS as u64;
    Counted {
        instructions: instructions / sends,
        allocations: allocations / sends,
        lines: lines.len(),
    }
}

const ALLOCATOR: [&str; 4] = ["malloc", "calloc", "realloc", "posix_memalign"];

/// Reads "0xaddress line executed".
fn cost(row: &str) -> Option<(u64, u64)> {
    let mut fields = row.strip_prefix("0x")?.split(' ');
    let address = u64::from_str_radix(fields.next()?, 16).ok()?;
    let executed = fields.nth(1)?.parse().ok()?;
    Some((address, executed))
}
