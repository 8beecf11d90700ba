package crypto

import (
	"crypto/rand"
	"encoding/json"
	"time"

	"golang.org/x/crypto/scrypt"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// saltSize is what restic insists on.
const saltSize = 64

// maxMemory bounds what scrypt may take, in bytes, and maxWork what it may compute, in blocks of N·r·p: a key file is
// read before anything is known to be ours.
const (
	maxMemory = 1 << 30
	maxWork   = 1 << 28
)

// Params are scrypt's cost: memory is 128·N·R bytes, time grows with N·R·P.
type Params struct{ N, R, P int }

// DefaultParams take 32 MiB and about a quarter of a second of one core of the year 2025: what OWASP's Password Storage
// Cheat Sheet has for this much memory. restic calibrates to half a second, which on a busy machine is p=1.
var DefaultParams = Params{N: 1 << 15, R: 8, P: 3}

func (p Params) check() error {
	if p.N <= 1 || p.N&(p.N-1) != 0 || p.R < 1 || p.P < 1 {
		return failure.New(failure.Corrupt, "derive a key", "", "scrypt has no N=%d r=%d p=%d", p.N, p.R, p.P)
	}
	if p.N > maxMemory/128 || p.R > maxMemory/128/p.N || p.P > maxWork/(p.N*p.R) {
		return failure.New(failure.Unsupported, "derive a key", "", "scrypt with N=%d r=%d p=%d costs too much", p.N, p.R, p.P)
	}
	return nil
}

// derive turns a password into a key.
func derive(p Params, salt []byte, password string) (*Key, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if len(salt) != saltSize {
		return nil, failure.New(failure.Corrupt, "derive a key", "", "the salt has %d bytes instead of %d", len(salt), saltSize)
	}
	raw, err := scrypt.Key([]byte(password), salt, p.N, p.R, p.P, 64)
	if err != nil {
		return nil, failure.WrapAs(failure.Corrupt, err, "derive a key", "")
	}
	return newKey(raw)
}

// KeyFile is one file of the folder keys: the vault's master key, sealed by a key derived from one password.
type KeyFile struct {
	Created  time.Time `json:"created"`
	Username string    `json:"username"`
	Hostname string    `json:"hostname"`
	KDF      string    `json:"kdf"`
	N        int       `json:"N"`
	R        int       `json:"r"`
	P        int       `json:"p"`
	Salt     []byte    `json:"salt"`
	Data     []byte    `json:"data"`
}

// SealKeyFile fills Salt, Data and the parameters of k so that password opens master.
func (k *KeyFile) SealKeyFile(master *Key, password string, p Params) error {
	k.Salt = make([]byte, saltSize)
	rand.Read(k.Salt)
	user, err := derive(p, k.Salt, password)
	if err != nil {
		return err
	}
	plain, err := json.Marshal(master)
	if err != nil {
		return err
	}
	k.KDF, k.N, k.R, k.P = "scrypt", p.N, p.R, p.P
	k.Data = user.Seal(nil, plain)
	return nil
}

// ParseKeyFile reads a key file as it is stored: plain JSON. One that cannot be ours is Corrupt, one that asks for more
// than we give Unsupported.
func ParseKeyFile(data []byte) (*KeyFile, error) {
	var k KeyFile
	if err := json.Unmarshal(data, &k); err != nil {
		return nil, failure.New(failure.Corrupt, "read a key", "", "it is no JSON of a key file")
	}
	if k.KDF != "scrypt" {
		return nil, failure.New(failure.Unsupported, "read a key", "", "its derivation %.40q is none that we know", k.KDF)
	}
	if len(k.Salt) != saltSize || len(k.Data) < Overhead {
		return nil, failure.New(failure.Corrupt, "read a key", "", "its salt or data have a wrong length")
	}
	return &k, (Params{k.N, k.R, k.P}).check()
}

// Open gives the master key. A password that is not this file's is Denied; the file cannot tell that from damage to
// Data, to the salt or to the parameters.
func (k *KeyFile) Open(password string) (*Key, error) {
	user, err := derive(Params{k.N, k.R, k.P}, k.Salt, password)
	if err != nil {
		return nil, err
	}
	plain, err := user.Open(append([]byte(nil), k.Data...))
	if err != nil {
		return nil, failure.New(failure.Denied, "open a key", "", "the password does not fit")
	}
	master := &Key{}
	if err := json.Unmarshal(plain, master); err != nil {
		return nil, failure.Wrap(err, "open a key", "")
	}
	return master, nil
}
