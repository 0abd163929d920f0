//! Runs one row under callgrind, and reads what callgrind wrote.

use std::{collections::HashSet, env, fs, process::Command};

/// How many requests are counted.
pub(crate) const SENDS: usize = 100;

/// What one request executes.
pub(crate) struct Counted {
    pub(crate) instructions: u64,
    pub(crate) allocations: u64,
    /// The distinct 64-byte lines of code of all requests together.
    pub(crate) lines: usize,
}

/// Counts what the row executes in `provider::send`, which is never inlined.
pub(crate) fn count(row: &str) -> Result<Counted, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let file = env::temp_dir().join(format!("hot_path.{}", std::process::id()));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-instr=yes", "--compress-pos=no"])
        .args(["--compress-strings=no", "--collect-atstart=no"])
        .arg("--toggle-collect=*provider*measured*")
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
    let (mut instructions, mut allocations) = (0, 0);
    let mut callee = "";
    let mut rows = written.lines();
    while let Some(row) = rows.next() {
        if let Some(name) = row.strip_prefix("cfn=") {
            callee = name;
        } else if let Some(calls) = row.strip_prefix("calls=") {
            // The row after it has what the callee executed, which the callee's own rows have too.
            rows.next();
            if matches!(callee, "malloc" | "calloc" | "realloc" | "posix_memalign") {
                let calls = calls.split(' ').next().and_then(|calls| calls.parse().ok());
                allocations += calls.unwrap_or(0);
            }
        } else if let Some(row) = row.strip_prefix("0x") {
            let mut fields = row.split(' ');
            let address = fields.next().and_then(|hex| u64::from_str_radix(hex, 16).ok());
            lines.extend(address.map(|address| address / 64));
            let executed = fields.nth(1).and_then(|count| count.parse().ok());
            instructions += executed.unwrap_or(0);
        }
    }
    let sends = SENDS as u64;
    Counted {
        instructions: instructions / sends,
        allocations: allocations / sends,
        lines: lines.len(),
    }
}
