package location

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// Password gives the password of a vault: what its reference resolves to, or what o.AskPassword answers. Invalid: there
// is neither, or it is empty.
func Password(ctx context.Context, v model.Vault, o Options) (string, error) {
	if v.Password == "" && o.AskPassword != nil {
		return o.AskPassword(ctx, Redact(v.URL))
	}
	password, err := resolve(ctx, v.Password)
	if err != nil {
		return "", failure.Wrap(err, "read the vault's password", Redact(v.URL))
	}
	if password == "" {
		return "", failure.New(failure.Invalid, "read the vault's password", Redact(v.URL), "there is none").
			WithHint("name it: password: env:NAME or file:/path in lifeboat.yaml, --password-file, or RESTIC_PASSWORD")
	}
	return password, nil
}

// resolve reads a reference; an empty one is no secret.
func resolve(ctx context.Context, text string) (string, error) {
	var ref secret.Ref
	if err := ref.UnmarshalText([]byte(text)); err != nil {
		return "", err
	}
	value, err := ref.Resolve(ctx)
	return value.Reveal(), err
}

// restUser gives the name and the password for a REST server: those of the URL, as with restic, else those of the
// configuration.
func restUser(ctx context.Context, l Location, v model.Vault) (name, password string, err error) {
	if name, there := l.User(); there {
		if l.user.password != nil {
			password = *l.user.password
		}
		return name, password, nil
	}
	password, err = resolve(ctx, v.UserPassword)
	return v.User, password, failure.Wrap(err, "read the password of the user", l.String())
}

// tlsConfig is nil when the vault asks for nothing special.
func tlsConfig(v model.Vault) (*tls.Config, error) {
	if v.CA == "" && v.Cert == "" && v.Key == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if v.CA != "" {
		c.RootCAs = x509.NewCertPool()
		for _, file := range authorities(v.CA) {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, failure.WrapAs(failure.Invalid, err, "read the certificates to trust", file)
			}
			if !c.RootCAs.AppendCertsFromPEM(text) {
				return nil, failure.New(failure.Invalid, "read the certificates to trust", file, "there is no certificate in PEM in it")
			}
		}
	}
	if v.Cert == "" && v.Key == "" {
		return c, nil
	}
	key := v.Key
	if key == "" {
		key = v.Cert // both in one file, as restic's --tls-client-cert
	}
	pair, err := tls.LoadX509KeyPair(v.Cert, key)
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "read the client's certificate", v.Cert).
			WithHint("both the certificate and its key are needed, in PEM; the key may be in the same file")
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// authorities are the files that ca names: one, or as in RESTIC_CACERT several with commas between them.
func authorities(ca string) []string {
	if _, err := os.Stat(ca); err == nil {
		return []string{ca}
	}
	return strings.Split(ca, ",")
}
