// Package queries keeps what people look at again and again: queries that were
// given a name, with how their result is drawn, and dashboards, which are lists of
// shared queries. A shared query is all that a viewer can see of a database; it
// only reads, whoever runs it.
//
// The SQL of a query can say a lot about a client, so records are sealed like all
// of the control store. The package owns its buckets "queries" and "dashboards";
// FORMAT.md describes them. It decides nothing about who may; app/actions does.
package queries
