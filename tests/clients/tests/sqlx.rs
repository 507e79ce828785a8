//! Statements of sqlx on PostgreSQL, MariaDB and SQLite.

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn postgresql_is_reached() {
    let pool = sqlx::PgPool::connect(&url("POSTGRES_URL")).await.unwrap();
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await.unwrap();
    assert_eq!(one, 1);
}

#[tokio::test]
#[ignore = "needs MariaDB"]
async fn mariadb_is_reached() {
    let pool = sqlx::MySqlPool::connect(&url("MARIADB_URL")).await.unwrap();
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await.unwrap();
    assert_eq!(one, 1);
}

fn url(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: use tests/clients/run.sh"))
}
