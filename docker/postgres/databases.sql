-- POSTGRES_DB is `market`.
CREATE DATABASE wallet;
