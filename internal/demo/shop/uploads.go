package shop

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// maxUpload bounds an uploaded file, in bytes.
const maxUpload = 1 << 20

// upload stores a file under its name, whole or not at all, and durably: it lies on this one disk, and anywhere else only
// once it was captured.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if s.uploads == "" || !orderID.MatchString(name) || name[0] == '.' {
		http.Error(w, "an upload's name is of at most 64 letters, digits, dots, dashes and underscores, not a dot first", http.StatusBadRequest)
		return
	}
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxUpload))
	if err != nil {
		http.Error(w, "an upload has at most 1 MiB", http.StatusRequestEntityTooLarge)
		return
	}
	if err := store(s.uploads, name, content); err != nil {
		s.log.Warn("upload not stored", "name", name, "error", err)
		http.Error(w, "the upload is not stored", http.StatusServiceUnavailable)
		return
	}
	reply(w, http.StatusCreated, map[string]string{"name": name})
}

func store(folder, name string, content []byte) error {
	tmp, err := os.CreateTemp(folder, ".upload-*")
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "store", name)
	}
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(folder, name))
	}
	if err != nil {
		return errors.Join(failure.WrapAs(failure.Unavailable, err, "store", name), os.Remove(tmp.Name()))
	}
	dir, err := os.Open(folder)
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "store", name)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "store", name)
	}
	return nil
}

func (s *Server) download(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if s.uploads == "" || !orderID.MatchString(name) || name[0] == '.' {
		http.Error(w, "no such upload", http.StatusNotFound)
		return
	}
	f, err := os.Open(filepath.Join(s.uploads, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "no such upload", http.StatusNotFound)
		return
	case err != nil:
		s.unavailable(w, "upload not read", err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	io.Copy(w, f) // the client hears of a broken answer by its length
}
