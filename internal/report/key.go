package report

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// The files of a state folder's signing key: PEM, PKCS #8 and SubjectPublicKeyInfo, as openssl reads them.
const (
	keyFile    = "report-signing.key"
	publicFile = "report-signing.pub"
)

// LoadOrCreateKey reads the signing key in dir, and makes one if there is none. Of processes that do so at once, one
// creates the key and all return it. The key file can be read by its owner only; one that others can read is
// failure.Denied, one that is no key failure.Corrupt: neither is replaced.
func LoadOrCreateKey(dir string) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, keyFile)
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "make", "signing key")
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "make", "signing key")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fileFailure(err, "make", dir)
	}
	err = createWhole(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	if errors.Is(err, fs.ErrExist) { // another process was faster: its key counts
		return loadKey(path)
	}
	if err != nil {
		return nil, fileFailure(err, "write", path)
	}
	return key, writePublic(filepath.Join(dir, publicFile), key)
}

func loadKey(path string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileFailure(err, "read", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, failure.New(failure.Denied, "read", path, "others can read the signing key (mode %04o)", info.Mode().Perm()).
			WithHint("chmod 600 %s; if others may have read it, move it away and a new one is made", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fileFailure(err, "read", path)
	}
	block, _ := pem.Decode(text)
	if block != nil {
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if key, ok := parsed.(ed25519.PrivateKey); err == nil && ok {
			return key, nil
		}
	}
	return nil, failure.New(failure.Corrupt, "read", path, "not an Ed25519 private key in PEM").
		WithHint("bring it back from a copy, or move it away and a new one is made")
}

func writePublic(path string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "write", path)
	}
	err = createWhole(path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644)
	if errors.Is(err, fs.ErrExist) { // left by a key that was moved away
		err = os.Remove(path)
		if err == nil {
			return writePublic(path, key)
		}
	}
	if err != nil {
		return fileFailure(err, "write", path)
	}
	return nil
}

// createWhole makes a file appear at path with all its content, durably, or not at all; it never replaces one
// (fs.ErrExist). A crash can leave a temporary file behind, which nobody reads.
func createWhole(path string, content []byte, mode fs.FileMode) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, os.Remove(temp.Name()))
	}()
	_, err = temp.Write(content)
	if err == nil {
		err = temp.Chmod(mode)
	}
	if err == nil {
		err = temp.Sync()
	}
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// fileFailure gives an error of the file system its kind; a missing file stays an fs.ErrNotExist too.
func fileFailure(err error, op, path string) error {
	kind := failure.Unavailable
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = failure.NotFound
	case errors.Is(err, fs.ErrPermission):
		kind = failure.Denied
	}
	return failure.WrapAs(kind, err, op, path)
}
