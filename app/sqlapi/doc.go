// Package sqlapi is the surface for clients of libSQL: the protocol "Hrana over
// HTTP", versions 2 and 3 in JSON, under /t/<tenant>/ and /t/<tenant>/db/
// (https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_3_SPEC.md). A
// client gets one of these as its URL and a Coffer token as its auth token.
//
// It parses a request, hands it to actions.SQLStream and writes what the
// statements give. Every request is judged anew by the credential that it shows;
// a stream goes on for who opened it alone.
//
// A statement that fails is part of an answer with status 200. What fails as a
// whole has another status and a body of exactly the members message, code and
// error as application/json: of the clients, some read one of them and some
// another, and some no other content type.
//
// Values are handed over byte by byte: dates are text, integers decimal strings,
// blobs base64 without padding. Text that is not UTF-8, which JSON cannot carry,
// comes as a blob; infinity, which it cannot either, as null.
package sqlapi
