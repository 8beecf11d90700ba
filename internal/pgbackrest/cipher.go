package pgbackrest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"errors"
	"io"
)

// saltMagic begins what is encrypted, as with "openssl enc"; bundled files of newer versions ("raw") leave it out.
const saltMagic = "Salted__"

const saltSize = 8

var (
	errNotEncrypted = errors.New("it is not encrypted as pgBackRest does it")
	errPadding      = errors.New("its last block is not as it was written: another passphrase, or damaged")
)

// decrypt gives the plain text of what src gives: AES-256 in CBC mode, the key and the vector derived from the
// passphrase by OpenSSL's EVP_BytesToKey with SHA-1 and one round.
func decrypt(src io.Reader, pass string, raw bool) io.Reader {
	return &decrypter{src: src, pass: pass, raw: raw, in: make([]byte, 32<<10)}
}

// decrypter holds the newest block back until it knows whether another one follows, for the last one ends in padding.
type decrypter struct {
	src  io.Reader
	pass string
	raw  bool
	mode cipher.BlockMode
	in   []byte // what was read
	have int    // of in, not decrypted yet
	held []byte // decrypted, and maybe the last
	out  []byte // ready
	err  error
}

// Read gives plain text.
func (d *decrypter) Read(p []byte) (int, error) {
	for len(d.out) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		d.err = d.fill()
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// fill decrypts some blocks. Its error comes with what may still be read before it.
func (d *decrypter) fill() error {
	if d.mode == nil {
		if err := d.begin(); err != nil {
			return err
		}
	}
	n, err := d.src.Read(d.in[d.have:])
	d.have += n
	if whole := d.have - d.have%aes.BlockSize; whole > 0 {
		plain := make([]byte, len(d.held)+whole)
		copy(plain, d.held)
		d.mode.CryptBlocks(plain[len(d.held):], d.in[:whole])
		d.have = copy(d.in, d.in[whole:d.have])
		last := len(plain) - aes.BlockSize
		d.out, d.held = plain[:last], bytes.Clone(plain[last:])
	}
	if err != io.EOF {
		return err
	}
	if d.have != 0 || len(d.held) == 0 {
		return io.ErrUnexpectedEOF
	}
	pad := int(d.held[len(d.held)-1])
	if pad < 1 || pad > aes.BlockSize || !bytes.Equal(d.held[aes.BlockSize-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return errPadding
	}
	d.out = append(d.out, d.held[:aes.BlockSize-pad]...)
	return io.EOF
}

// begin reads the salt.
func (d *decrypter) begin() error {
	head := make([]byte, len(saltMagic)+saltSize)
	if d.raw {
		head = head[:saltSize]
	}
	if _, err := io.ReadFull(d.src, head); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	salt := head
	if !d.raw {
		if !bytes.HasPrefix(head, []byte(saltMagic)) {
			return errNotEncrypted
		}
		salt = head[len(saltMagic):]
	}
	var derived, last []byte
	for len(derived) < 32+aes.BlockSize {
		h := sha1.New()
		h.Write(last)
		h.Write([]byte(d.pass))
		h.Write(salt)
		last = h.Sum(nil)
		derived = append(derived, last...)
	}
	block, err := aes.NewCipher(derived[:32])
	if err != nil {
		return err
	}
	d.mode = cipher.NewCBCDecrypter(block, derived[32:32+aes.BlockSize])
	return nil
}
