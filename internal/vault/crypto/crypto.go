// Package crypto seals and opens what a vault stores, and derives keys from passwords, as restic's format says.
//
// Every object is IV(16) ‖ AES-256-CTR ciphertext ‖ Poly1305-AES tag(16); the IV is random and serves as counter and as
// nonce of the tag (https://cr.yp.to/mac/poly1305-20050329.pdf). There is no associated data: what binds an object to
// its place is its name, the SHA-256 of its content. It is not for anything but this format. Start with [NewKey] or
// [ParseKeyFile].
package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"io"
	"slices"

	//lint:ignore SA1019 the format fixes this construction
	"golang.org/x/crypto/poly1305"

	"github.com/lifeboat-dr/lifeboat/failure"
)

const (
	tagSize = poly1305.TagSize

	// IVSize is how much of a sealed object comes before its ciphertext.
	IVSize = aes.BlockSize
	// Overhead is how much longer a sealed object is than its plaintext.
	Overhead = IVSize + tagSize
)

// Key encrypts and authenticates. Make it with NewKey, KeyFile.Open or json.Unmarshal; the zero Key seals and opens
// nothing. A Key may be used by several goroutines at once.
type Key struct {
	encrypt [32]byte // AES-256
	macK    [16]byte // AES-128, for the nonce
	macR    [16]byte // Poly1305's r; poly1305 masks it

	block, nonce cipher.Block
}

// NewKey makes a key from random, which is crypto/rand's Reader but in tests.
func NewKey(random io.Reader) (*Key, error) {
	var raw [64]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "make a key", "")
	}
	return newKey(raw[:])
}

// newKey splits 64 bytes as scrypt gives them: encryption key, k, r.
func newKey(raw []byte) (*Key, error) {
	k := &Key{}
	copy(k.encrypt[:], raw[:32])
	copy(k.macK[:], raw[32:48])
	copy(k.macR[:], raw[48:64])
	return k, k.prepare()
}

func (k *Key) prepare() error {
	if k.encrypt == [32]byte{} || k.macK == [16]byte{} || k.macR == [16]byte{} {
		return failure.New(failure.Corrupt, "read a key", "", "a part of it is all zero")
	}
	var err error
	if k.block, err = aes.NewCipher(k.encrypt[:]); err != nil {
		return err
	}
	k.nonce, err = aes.NewCipher(k.macK[:])
	return err
}

// keyJSON is how a key is written inside of a key file.
type keyJSON struct {
	MAC struct {
		K []byte `json:"k"`
		R []byte `json:"r"`
	} `json:"mac"`
	Encrypt []byte `json:"encrypt"`
}

// MarshalJSON writes the secret itself: only ever into something that is sealed.
func (k *Key) MarshalJSON() ([]byte, error) {
	var j keyJSON
	j.MAC.K, j.MAC.R, j.Encrypt = k.macK[:], k.macR[:], k.encrypt[:]
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote; a key of another length is Corrupt.
func (k *Key) UnmarshalJSON(data []byte) error {
	var j keyJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return failure.New(failure.Corrupt, "read a key", "", "it is no JSON of a key")
	}
	if len(j.MAC.K) != 16 || len(j.MAC.R) != 16 || len(j.Encrypt) != 32 {
		return failure.New(failure.Corrupt, "read a key", "", "a part of it has the wrong length")
	}
	copy(k.encrypt[:], j.Encrypt)
	copy(k.macK[:], j.MAC.K)
	copy(k.macR[:], j.MAC.R)
	return k.prepare()
}

// Seal appends the sealed plaintext to dst and returns it; the result is Overhead longer. Plaintext may already lie where
// it is encrypted to, IVSize bytes behind the end of dst; it must not overlap the free part of dst in any other way. It
// panics for a key that is zero, which no constructor gives.
func (k *Key) Seal(dst, plaintext []byte) []byte {
	start := len(dst)
	dst = slices.Grow(dst, len(plaintext)+Overhead)[:start+IVSize+len(plaintext)]
	iv, text := dst[start:start+IVSize], dst[start+IVSize:]
	for {
		rand.Read(iv) // never fails: crypto/rand ends the program instead
		if !allZero(iv) {
			break
		}
	}
	cipher.NewCTR(k.block, iv).XORKeyStream(text, plaintext)
	var tag [tagSize]byte
	oneTime := k.oneTime(iv)
	poly1305.Sum(&tag, text, &oneTime)
	return append(dst, tag[:]...)
}

// Open decrypts sealed in place and returns the part of it that is plaintext. It is Corrupt when the tag does not fit,
// which also is what a wrong key looks like; sealed is unchanged then.
func (k *Key) Open(sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, failure.New(failure.Corrupt, "decrypt", "", "%d bytes are too few", len(sealed))
	}
	iv, text := sealed[:IVSize], sealed[IVSize:len(sealed)-tagSize]
	if allZero(iv) {
		return nil, failure.New(failure.Corrupt, "decrypt", "", "the nonce is all zero")
	}
	oneTime := k.oneTime(iv)
	if !poly1305.Verify((*[tagSize]byte)(sealed[len(sealed)-tagSize:]), text, &oneTime) {
		return nil, failure.New(failure.Corrupt, "decrypt", "", "the bytes are not what was sealed with this key")
	}
	cipher.NewCTR(k.block, iv).XORKeyStream(text, text)
	return text, nil
}

// oneTime is Poly1305's key for one message: r ‖ AES(k, nonce).
func (k *Key) oneTime(iv []byte) (key [32]byte) {
	copy(key[:16], k.macR[:])
	k.nonce.Encrypt(key[16:], iv)
	return key
}

func allZero(b []byte) bool {
	var sum byte
	for _, c := range b {
		sum |= c
	}
	return sum == 0
}
