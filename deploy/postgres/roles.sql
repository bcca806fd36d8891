-- The rights of the role that gateways and workers run as, which is no owner: it reads and writes rows, and can neither change nor empty
-- a table. `confab-worker migrate` and `reset` run as the owner of the database.
--
--   CREATE ROLE confab_app LOGIN PASSWORD '…';          -- once, by whoever may
--   psql -d confab -U confab -v app=confab_app -f deploy/postgres/roles.sql   -- as the owner, after the first migration
--
-- Tables of later migrations get the same rights by themselves, as long as the same owner makes them.
\set ON_ERROR_STOP on
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'app') \gexec
GRANT USAGE ON SCHEMA public TO :"app";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :"app";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
-- Which migrations there were is the owner's to say.
REVOKE INSERT, UPDATE, DELETE ON _sqlx_migrations FROM :"app";
