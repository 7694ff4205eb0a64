// Package inout reads rows from files of others and writes them: CSV and JSON
// Lines. Readers take a file as a stream of bounded memory and name the line and
// the column of what is wrong, never the value. It knows nothing of tenants: what
// it gives are SQLite's values for the columns of a table.
package inout
