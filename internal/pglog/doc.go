// Package pglog keeps the write-ahead log of one PostgreSQL resource safe at one recovery site.
//
// A receiver streams the log into a spool on the site's own disk, where it is flushed before it is acknowledged, and folds
// the spool into a vault every few seconds. Receiving never waits for the vault. What the server has not got any more is a
// gap: it is told at once, and recorded where a restore finds it.
//
// It takes no base points, and how log comes back is package pgrestore's. What lies in the vault is said by package pgpoint, what lies in a spool by
// walspool. Start with [Run], or with [Main] for the program `lifeboat pg-receiver FOLDER`; [ReadState] says how it goes.
package pglog
