package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// selfSignedFor is how long a certificate made here is valid: those who trust it trust the file, and have to be told
// of another one.
const selfSignedFor = 10 * 365 * 24 * time.Hour

// Certificate is a server's, in files.
type Certificate struct {
	Cert, Key string // files, PEM
	// Fingerprint is the SHA-256 of the certificate, in hexadecimal with colons, as openssl prints it.
	Fingerprint string
	Hosts       []string // names and addresses that it is for
	Until       time.Time
}

// SelfSigned gives the self-signed certificate in a folder, which it makes when there is none: .server.crt, which is no
// secret and what agents are given to trust (ca: in lifeboat.yaml, restic's --cacert), and .server.key. Names that begin
// with a dot are never served, so the folder may be the server's. One that is there stays, since others trust it:
// Conflict, when it is not for all of hosts or not valid at the time.
func SelfSigned(folder string, hosts []string, now time.Time) (Certificate, error) {
	c := Certificate{Cert: filepath.Join(folder, ".server.crt"), Key: filepath.Join(folder, ".server.key")}
	if len(hosts) == 0 {
		return c, failure.New(failure.Invalid, "make a certificate", folder, "no host is named")
	}
	_, err := os.Stat(c.Cert)
	if errors.Is(err, fs.ErrNotExist) {
		err = makeCertificate(c, hosts, now)
	}
	if err != nil {
		return c, failure.Wrap(err, "make a certificate", folder)
	}
	leaf, err := c.read()
	if err != nil {
		return c, err
	}
	stale := func(format string, args ...any) (Certificate, error) {
		return c, failure.New(failure.Conflict, "use the certificate", c.Cert, format, args...).
			WithHint("remove %s and %s to have new ones made, and give the new certificate to whoever trusts the old one", c.Cert, c.Key)
	}
	for _, host := range hosts {
		if leaf.VerifyHostname(host) != nil {
			return stale("it is not for %s", host)
		}
	}
	if now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		return stale("it is valid from %s to %s only", leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly))
	}
	return c, nil
}

// read fills what the certificate's file says.
func (c *Certificate) read() (*x509.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "read the certificate", c.Cert)
	}
	leaf := pair.Leaf
	sum := sha256.Sum256(leaf.Raw)
	var parts []string
	for _, b := range sum {
		parts = append(parts, strings.ToUpper(hex.EncodeToString([]byte{b})))
	}
	c.Fingerprint, c.Until, c.Hosts = strings.Join(parts, ":"), leaf.NotAfter, leaf.DNSNames
	for _, ip := range leaf.IPAddresses {
		c.Hosts = append(c.Hosts, ip.String())
	}
	return leaf, nil
}

// makeCertificate makes a certificate that stands for itself only: it signs no others, so that whoever trusts it trusts
// this server and nothing else.
func makeCertificate(c Certificate, hosts []string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "", "")
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "", "")
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Lifeboat vault server"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(selfSignedFor), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return failure.WrapAs(failure.Invalid, err, "", strings.Join(hosts, " "))
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "", "")
	}
	// The certificate comes last: where it is, the key is too.
	if err := replace(c.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})); err != nil {
		return err
	}
	return replace(c.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
}

// TLS serves the certificate in the files, and reads them again when they have changed: a renewed certificate needs no
// restart. Files that cannot be read leave the last good ones in use.
func TLS(cert, key string, log *slog.Logger) (*tls.Config, error) {
	k := &keeper{cert: cert, key: key, log: log}
	if _, err := k.get(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: k.get}, nil
}

// keeper holds a certificate that may change.
type keeper struct {
	cert, key string
	log       *slog.Logger

	mu       sync.Mutex
	pair     *tls.Certificate
	modified [2]time.Time
}

// get gives the certificate as it is in the files.
func (k *keeper) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var modified [2]time.Time
	for i, path := range []string{k.cert, k.key} {
		if info, err := os.Stat(path); err == nil {
			modified[i] = info.ModTime()
		}
	}
	if k.pair != nil && modified == k.modified {
		return k.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil && k.pair == nil {
		return nil, failure.WrapAs(failure.Invalid, err, "read the server's certificate", k.cert)
	}
	k.modified = modified
	if err != nil {
		k.log.Error("the server's certificate cannot be read again; the last one stays in use", "file", k.cert, "error", err)
		return k.pair, nil
	}
	k.pair = &pair
	return k.pair, nil
}
