use super::*;

fn read(source: DataSourceName, set: &[(&str, &str)]) -> Result<Option<DataSourceConfig>, Error> {
    let get = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    DataSourceConfig::from_variables(source, Variables::new(&get))
}

fn market(set: &[(&str, &str)]) -> Result<Option<DataSourceConfig>, Error> {
    read(DataSourceName::Market, set)
}

fn assert_refused(set: &[(&str, &str)], expected: &str) {
    let error = market(set).unwrap_err();
    assert_eq!(error.to_string(), format!("data source market: {expected}"));
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn data_source_is_none_if_no_variable_is_set() {
    assert!(market(&[("WALLET_DATABASE_URL", "sqlite::memory:")]).unwrap().is_none());
    assert!(read(DataSourceName::Wallet, &[("DATABASE_URL", "sqlite::memory:")]).unwrap().is_none());
}

#[test]
fn url_with_fields_is_refused() {
    let url = ("DATABASE_URL", "sqlite:hunter2.db");
    for (field, value) in [("DATABASE_TYPE", "sqlite"), ("DATABASE_PASSWORD", "hunter2"), ("DATABASE_NAME", "x")] {
        let expected = format!("DATABASE_URL and {field} are both set: set either the URL or the fields");
        assert_refused(&[url, (field, value)], &expected);
    }
    let error = read(DataSourceName::Wallet, &[("WALLET_DATABASE_URL", "x"), ("WALLET_DATABASE_HOST", "x")]);
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("data source wallet: WALLET_DATABASE_URL and WALLET_DATABASE_HOST are"), "{error}");
}

#[test]
fn invalid_urls_are_refused_without_their_value() {
    let expected = "DATABASE_URL does not begin with postgres:, mysql:, mariadb: or sqlite:";
    for url in ["oracle://shop:hunter2@db/shop", "hunter2", "hunter2:x", "://hunter2"] {
        assert_refused(&[("DATABASE_URL", url)], expected);
    }
}

#[test]
#[cfg(feature = "postgres")]
fn url_with_an_unencoded_password_is_refused() {
    let expected = "DATABASE_URL is not a valid URL: percent-encode special characters of the user and the password, \
                    or set the fields instead";
    for url in ["postgres://shop:hunter2#x@db/shop", "postgres://shop:hunter2/x@db/shop"] {
        assert_refused(&[("DATABASE_URL", url)], expected);
    }
}

#[test]
fn sqlite_needs_a_name_and_accepts_no_other_field() {
    let name = |name| market(&[("DATABASE_TYPE", "sqlite"), ("DATABASE_NAME", name)]).unwrap().unwrap().url;
    assert_eq!(name(":memory:").expose(), "sqlite::memory:");
    assert_eq!(name("/data/100% of it?.db").expose(), "sqlite:/data/100%25%20of%20it%3F.db?mode=rwc");
    assert_eq!(name("../x.db").expose(), "sqlite:../x.db?mode=rwc");
    let sqlite = ("DATABASE_TYPE", "sqlite");
    assert_refused(&[sqlite], "DATABASE_NAME is not set, but DATABASE_TYPE=sqlite requires it");
    let expected = "DATABASE_PASSWORD is set, but SQLite supports only DATABASE_NAME";
    assert_refused(&[sqlite, ("DATABASE_NAME", "x.db"), ("DATABASE_PASSWORD", "hunter2")], expected);
}

#[test]
fn unknown_or_missing_type_is_refused() {
    let expected = "DATABASE_TYPE is \"oracle\": expected postgres, mysql, mariadb or sqlite";
    assert_refused(&[("DATABASE_TYPE", "oracle")], expected);
    assert_refused(&[("DATABASE_PASSWORD", "hunter2")], "DATABASE_PASSWORD is set, but DATABASE_TYPE is not");
}

#[test]
#[cfg(not(all(feature = "postgres", feature = "mysql")))]
fn missing_driver_names_the_feature() {
    let missing = [
        #[cfg(not(feature = "postgres"))]
        ("postgres", "postgres"),
        #[cfg(not(feature = "mysql"))]
        ("mysql", "mysql"),
        #[cfg(not(feature = "mysql"))]
        ("mariadb", "mysql"),
    ];
    for (database, feature) in missing {
        let url = format!("{database}://shop:hunter2@db/shop");
        for (variable, value) in [("DATABASE_URL", url.as_str()), ("DATABASE_TYPE", database)] {
            let error = market(&[(variable, value)]).unwrap_err().to_string();
            assert!(error.contains(variable) && error.contains("not in this build"), "{error}");
            assert!(error.contains(&format!("--features {feature}")) && !error.contains("hunter2"), "{error}");
        }
    }
}

#[cfg(all(feature = "postgres", feature = "mysql"))]
mod servers {
    use super::*;

    const FIELDS: [(&str, &str); 6] = [
        ("DATABASE_TYPE", "postgres"),
        ("DATABASE_HOST", "db"),
        ("DATABASE_PORT", "5433"),
        ("DATABASE_USERNAME", "shop@home"),
        ("DATABASE_PASSWORD", "hunter2:/?#[]@%ü"),
        ("DATABASE_NAME", "shop 1"),
    ];

    fn with(changed: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
        changed.iter().copied().chain(FIELDS).collect()
    }

    #[test]
    fn user_and_password_are_percent_encoded() {
        let config = market(&FIELDS).unwrap().unwrap();
        assert_eq!(config.database_type, DatabaseType::Postgres);
        assert_eq!(
            config.url.expose(),
            "postgres://shop%40home:hunter2%3A%2F%3F%23%5B%5D%40%25%C3%BC@db:5433/shop%201"
        );
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    }

    #[test]
    fn port_and_password_are_optional() {
        let fields = with(&[("DATABASE_PORT", ""), ("DATABASE_PASSWORD", ""), ("DATABASE_TYPE", "mariadb")]);
        let config = market(&fields).unwrap().unwrap();
        assert_eq!(config.database_type, DatabaseType::MySql);
        assert_eq!(config.url.expose(), "mysql://shop%40home@db/shop%201");
        for host in ["::1", "[::1]"] {
            let config = market(&with(&[("DATABASE_HOST", host)])).unwrap().unwrap();
            assert!(config.url.expose().contains("@[::1]:5433/"), "{}", config.url.expose());
        }
    }

    #[test]
    fn missing_fields_are_named() {
        for field in ["DATABASE_HOST", "DATABASE_USERNAME", "DATABASE_NAME"] {
            let expected = format!("{field} is not set, but DATABASE_TYPE=postgres requires it");
            assert_refused(&with(&[(field, "")]), &expected);
        }
    }

    #[test]
    fn invalid_fields_are_named() {
        for port in ["x", "0", "65536", "-1", " 1"] {
            let expected = format!("DATABASE_PORT is {port:?}: expected a number from 1 to 65535");
            assert_refused(&with(&[("DATABASE_PORT", port)]), &expected);
        }
        for host in ["db/x", "a@db", "d b", "db?x", "db#"] {
            let expected = format!("DATABASE_HOST is {host:?}: expected the name or the address of a host");
            assert_refused(&with(&[("DATABASE_HOST", host)]), &expected);
        }
    }

    #[test]
    fn mariadb_is_a_scheme_too() {
        let config = market(&[("DATABASE_URL", "mariadb://shop@db/shop")]).unwrap().unwrap();
        assert_eq!(config.url.expose(), "mysql://shop@db/shop");
    }
}
