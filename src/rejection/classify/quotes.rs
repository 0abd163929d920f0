//! What a message quotes.

/// Returns the message without the text from its first quotation mark to its last. A quoted text may contain
/// quotation marks itself.
pub(super) fn without(message: &str) -> String {
    let is_word = |at: usize| message[at..].starts_with(char::is_alphanumeric);
    let ends_in_word = |at: usize| message[..at].ends_with(char::is_alphanumeric);
    // An apostrophe stands in a word.
    let marks = message.match_indices(['`', '"', '\'']).map(|(at, _)| at);
    let mut opening = marks.clone().filter(|at| !ends_in_word(*at));
    let mut closing = marks.rev().filter(|at| !is_word(at + 1));
    match (opening.next(), closing.next()) {
        (Some(start), Some(end)) if start < end => {
            [&message[..start], &message[end + 1..]].concat()
        }
        _ => message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_removed() {
        let table = [
            (
                "the model `out of credits` does not exist",
                "the model  does not exist",
            ),
            (
                "invalid value: 'a', 'b' or 'c'. you've sent 'd'.",
                "invalid value: .",
            ),
            ("no 'x' out of credits 'y' here", "no  here"),
            (
                "you've used your team's credits",
                "you've used your team's credits",
            ),
            ("an \"open end", "an \"open end"),
            ("", ""),
        ];
        for (message, left) in table {
            assert_eq!(without(message), left);
        }
    }
}
