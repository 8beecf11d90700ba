// Package pgbackrest reads the repositories of pgBackRest: which backups and which archived log there are, and their
// content, decrypted, decompressed and verified.
//
// It writes nothing, and knows no vault: bringing what is read into one is package importer's. It reads repositories on
// a file system and, through package s3, in buckets; backups that are full, differential, incremental, bundled and
// block-incremental; compressed by gz, lz4, zst, bz2 or not at all; encrypted by aes-256-cbc or not. What the format is
// was learned from pgBackRest's own source (src/info, src/command/backup, src/command/restore, src/common/crypto) and
// from repositories that its versions 2.45 and 2.55 made. Start with [Open].
//
// A repository looks like this; every file but the history of timelines may be compressed, and all may be encrypted:
//
//	backup/STANZA/backup.info                              which backups there are
//	backup/STANZA/LABEL/backup.manifest                    which files one has, and where they lie
//	backup/STANZA/LABEL/pg_data/base/5/1259.gz             a file
//	backup/STANZA/LABEL/bundle/1                           many files, one behind the other
//	archive/STANZA/archive.info
//	archive/STANZA/15-1/0000000100000000/SEGMENT-SHA1.gz   a segment of log
//	archive/STANZA/15-1/00000002.history
package pgbackrest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Store is where a repository lies. It is only read. Paths have slashes and begin at the repository's top.
type Store interface {
	// Open reads length bytes of a file from offset on; all that is left, when length is negative. NotFound: there is
	// none. A file that ends earlier ends the reader.
	Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error)
	// List gives what is in a folder, sorted by name. A folder that is not there is empty.
	List(ctx context.Context, folder string) ([]Entry, error)
	// String says where it is, for people, without secrets.
	String() string
}

// Entry is one name in a folder.
type Entry struct {
	Name   string
	Folder bool
	Size   int64 // bytes; of a file
}

// Options say what is read.
type Options struct {
	Stanza string
	// Passphrase is the repository's (repo1-cipher-pass); empty: it is not encrypted.
	Passphrase string
}

// Repo is a stanza of a repository, as it was when it was opened. It may be used by several goroutines at once.
type Repo struct {
	Stanza string
	// Backups are oldest first. Those that were not finished, and those that expired, are not among them.
	Backups []Backup
	// Archives are the logs that the stanza has: one for each cluster that it ever backed up.
	Archives []Archive

	store Store
	// Passphrases of what the two info files lead to; empty: it is not encrypted.
	manifestPass, archivePass string
}

// maxInfo bounds the files that are read whole, in bytes: a manifest has some 250 for each file of a cluster.
const maxInfo = 1 << 30

// stanzas are the names that pgBackRest takes.
var stanzas = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// Open reads what a stanza has. NotFound: there is no such stanza; Denied: it is encrypted and the passphrase is missing
// or does not open it; Corrupt: neither the info file nor its copy is as it was written; Unsupported: it is of a format
// that this build does not know. An archive that is missing altogether is no error.
func Open(ctx context.Context, store Store, o Options) (*Repo, error) {
	if !stanzas.MatchString(o.Stanza) || o.Stanza == "." || o.Stanza == ".." {
		return nil, failure.New(failure.Invalid, "open the pgBackRest stanza", o.Stanza, "no stanza is called so").
			WithHint("give the name that pgbackrest.conf has in brackets, such as [main]")
	}
	r := &Repo{Stanza: o.Stanza, store: store}
	backups, err := r.loadInfo(ctx, "backup/"+o.Stanza+"/backup.info", o.Passphrase)
	if err != nil {
		return nil, r.noStanza(ctx, err)
	}
	if r.Backups, err = parseBackups(backups); err != nil {
		return nil, failure.Wrap(err, "read", r.subject("backup/"+o.Stanza+"/backup.info"))
	}
	r.manifestPass = backups.pass
	archives, err := r.loadInfo(ctx, "archive/"+o.Stanza+"/archive.info", o.Passphrase)
	if errors.Is(err, failure.NotFound) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if r.Archives, err = parseArchives(archives); err != nil {
		return nil, failure.Wrap(err, "read", r.subject("archive/"+o.Stanza+"/archive.info"))
	}
	r.archivePass = archives.pass
	return r, nil
}

// noStanza tells what stanzas there are when one is not there.
func (r *Repo) noStanza(ctx context.Context, err error) error {
	if failure.KindOf(err) != failure.NotFound {
		return err
	}
	there, listErr := r.store.List(ctx, "backup")
	if listErr != nil {
		return listErr
	}
	names := ""
	for _, e := range there {
		if e.Folder {
			names += " " + e.Name
		}
	}
	if names == "" {
		return failure.WrapAs(failure.NotFound, err, "open the pgBackRest repository", r.store.String()).
			WithHint("there is no backup/ with stanzas in it: give the folder that repo1-path names")
	}
	return failure.WrapAs(failure.NotFound, err, "open the pgBackRest stanza", r.Stanza).WithHint("the repository has:%s", names)
}

// subject is a file of the repository, for people.
func (r *Repo) subject(path string) string { return r.store.String() + "/" + path }

// loadInfo reads a file that pgBackRest keeps twice. When the first one cannot be had, the copy is it.
func (r *Repo) loadInfo(ctx context.Context, path, pass string) (*info, error) {
	i, err := r.loadOne(ctx, path, pass)
	if err == nil || ctx.Err() != nil {
		return i, err
	}
	if i, copyErr := r.loadOne(ctx, path+".copy", pass); copyErr == nil {
		return i, nil
	}
	return nil, err
}

func (r *Repo) loadOne(ctx context.Context, path, pass string) (*info, error) {
	text, err := r.readAll(ctx, path, pass)
	if err != nil {
		return nil, err
	}
	i, err := parseInfo(text)
	if err == nil {
		return i, nil
	}
	if pass != "" && failure.KindOf(err) == failure.Corrupt {
		// A wrong passphrase gives nonsense, and once in some hundred times no error before.
		return nil, failure.WrapAs(failure.Denied, err, "decrypt", r.subject(path)).WithHint(passHint)
	}
	return nil, failure.Wrap(err, "read", r.subject(path))
}

const passHint = "give the passphrase that pgbackrest.conf has as repo1-cipher-pass: --cipher-pass-file FILE"

// readAll reads a small file whole.
func (r *Repo) readAll(ctx context.Context, path, pass string) ([]byte, error) {
	src, err := r.store.Open(ctx, path, 0, -1)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	text, err := io.ReadAll(io.LimitReader(src, maxInfo+1))
	if err != nil {
		return nil, failure.Wrap(err, "read", r.subject(path))
	}
	if len(text) > maxInfo {
		return nil, failure.New(failure.Corrupt, "read", r.subject(path), "it is longer than %d bytes", maxInfo)
	}
	if pass == "" {
		if bytes.HasPrefix(text, []byte(saltMagic)) {
			return nil, failure.New(failure.Denied, "read", r.subject(path), "it is encrypted, and there is no passphrase").WithHint(passHint)
		}
		return text, nil
	}
	if !bytes.HasPrefix(text, []byte(saltMagic)) {
		return nil, failure.New(failure.Denied, "decrypt", r.subject(path), "it is not encrypted, and there is a passphrase").
			WithHint("leave the passphrase out")
	}
	plain, err := io.ReadAll(decrypt(bytes.NewReader(text), pass, false))
	if err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "decrypt", r.subject(path)).WithHint(passHint)
	}
	return plain, nil
}

// major is the number that names a release of PostgreSQL: 15 of "15", and "9.6" has none that matters here.
func major(version string) (int, error) {
	var m int
	if _, err := fmt.Sscanf(version, "%d", &m); err != nil || m < 1 {
		return 0, failure.New(failure.Corrupt, "read", "the version of PostgreSQL", "%q is none", version)
	}
	return m, nil
}
