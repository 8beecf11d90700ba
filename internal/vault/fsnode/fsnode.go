// Package fsnode is what a vault keeps of a file beside its content: read from a file system into a tree.Node, and
// written from one to a file system.
//
// It follows no symbolic links, and names files by an open directory and a name in it, so that paths may be longer than
// the system's limit and nobody can put another directory in the way. It reads no content and knows no vault. Start with
// [OpenDir] and [Reader] for reading.
package fsnode
