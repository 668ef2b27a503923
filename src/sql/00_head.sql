-- lifecycle: installation script. Assembled by the Makefile from the area files in src/sql.
\echo Use "CREATE EXTENSION lifecycle" to load this file. \quit

-- Without IF NOT EXISTS on purpose: a schema made by somebody else beforehand must make the installation fail.
CREATE SCHEMA lifecycle;
COMMENT ON SCHEMA lifecycle IS 'Definitions and functions of customer-lifecycle automation; the state of each lifecycle lives in a schema of its own.';
GRANT USAGE ON SCHEMA lifecycle TO PUBLIC;

