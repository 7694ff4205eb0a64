// Package ui is what people see: pages made on the server, a surface of httpd.
//
// A page is a template with a view struct of its own, and a handler that calls
// operations of package actions; nothing here decides what somebody may do. Every
// page works as plain HTML with form posts; the scripts in assets only make it
// pleasanter.
//
// What keeps other sites out: one strict content security policy with trusted
// types, a session in a cookie that no other site can send, a check of where
// every unsafe request comes from (origin.go), and no address that changes
// anything when it is merely opened. A secret is in the answer to the POST that
// asked for it and nowhere else: never in an address, and not in a form that is
// shown again. (The token of a link that somebody is taking up is in the form that
// takes it up.)
package ui
