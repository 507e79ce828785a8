//! Which of the names that arrived is most like the one that was wanted.

/// None where no name is there.
pub(super) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names.into_iter().min_by_key(|name| distance(wanted, name))
}

/// Characters to insert, remove or replace.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, char) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (index, candidate) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(char != *candidate);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(row[index] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (one, other, edits) in [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3), ("GET /a", "GET /b", 1)] {
            assert_eq!((distance(one, other), distance(other, one)), (edits, edits), "{one} {other}");
        }
        assert_eq!(nearest("GET /listing", ["POST /x", "GET /listings"]), Some("GET /listings"));
        assert_eq!(nearest("GET /listing", []), None);
    }
}
