// Package archivertest makes files that are hard to back up and to restore, and compares directories strictly.
//
// [Corpus] makes everything that a file system of Linux can hold and a test may make: names of any bytes, holes, hard
// links, attributes, access control lists, devices, odd times and modes. [Small] makes many small files. [Compare] says
// whether two directories hold the same, down to nanoseconds and holes; it looks for itself, not through package fsnode,
// which it judges. Without root's rights a corpus has no devices, no foreign owners and no trusted attributes.
package archivertest
