use tower_apm::internals::sql_signature;

/// A statement. Its name does not depend on case, comments or blanks in front, and says nothing that is not in it.
pub fn sql(data: &[u8]) {
    let statement = String::from_utf8_lossy(data);
    let name = sql_signature(&statement);
    assert_eq!(sql_signature(&format!("/* by */ -- and by\n\t {statement}")), name, "{statement:?}");
    let upper = sql_signature(&statement.to_ascii_uppercase());
    // the case of `$tag$` counts
    assert!(statement.contains('$') || upper.eq_ignore_ascii_case(&name), "{statement:?}: {name:?} and {upper:?}");
    let verbs = ["CALL ", "DELETE FROM ", "INSERT INTO ", "REPLACE INTO ", "SELECT FROM ", "UPDATE "];
    match verbs.iter().find_map(|verb| name.strip_prefix(verb)) {
        // a statement that begins with a quotation is named by that, in upper case
        Some(table) => {
            let known = statement.to_uppercase();
            table
                .split('.')
                .for_each(|part| assert!(known.contains(&part.to_uppercase()), "{part:?} of {statement:?}"));
        }
        None => assert_eq!(name, name.to_uppercase(), "{statement:?}"),
    }
}
