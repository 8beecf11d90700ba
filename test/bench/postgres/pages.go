package main

import (
	"encoding/gob"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// page is how long a page of a relation is.
const page = 8192

// counted are pages of relations.
type counted struct{ Pages, Differ int64 }

// relations calls each for every relation's file in a data folder.
func relations(data string, each func(rel, path string) error) error {
	return filepath.WalkDir(filepath.Join(data, "base"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Trim(d.Name(), "0123456789._fsmv") != "" {
			return err
		}
		rel, err := filepath.Rel(data, path)
		if err != nil {
			return err
		}
		return each(rel, path)
	})
}

// pages counts the pages of the data folder, and those that differ from what target says of the last time.
func (t *task) pages() error {
	before, now := map[string][]uint32{}, map[string][]uint32{}
	f, err := os.OpenFile(t.target, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := gob.NewDecoder(f).Decode(&before); err != nil && err != io.EOF {
		return err
	}
	var c counted
	if err := relations(t.folder, func(rel, path string) error {
		sums, err := pageSums(path)
		now[rel] = sums
		c.Pages += int64(len(sums))
		for i, s := range sums {
			if i >= len(before[rel]) || before[rel][i] != s {
				c.Differ++
			}
		}
		return err
	}); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return errors.Join(f.Truncate(0), gob.NewEncoder(f).Encode(now), json.NewEncoder(os.Stdout).Encode(c))
}

// pageSums has a sum of each page of a file.
func pageSums(path string) ([]uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var sums []uint32
	for buf := make([]byte, 128*page); ; {
		n, err := io.ReadFull(f, buf)
		for i := 0; i < n; i += page {
			sums = append(sums, crc32.ChecksumIEEE(buf[i:min(i+page, n)]))
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return sums, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
