// Package etcd is the durable journal: a journal.Store over etcd.
//
// [OpenFolder] keeps it in a state folder with nothing to set up. Whichever process needs the folder first hosts a
// single embedded member of it, without any TCP socket; the others reach that one over a unix socket in the folder, and
// one of them becomes the host when it exits or dies, over the same data. [Open] uses an etcd that the user runs.
//
// It is no general client: keys live under one prefix, and calls and errors are those of package journal.
package etcd
