package awsbase_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// counted counts what goes through it.
type counted struct {
	aws.HTTPClient
	n *atomic.Int32
}

func (c counted) Do(req *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.HTTPClient.Do(req)
}

// Whoever looks into the traffic of a company has an authority of its own, which AWS_CA_BUNDLE names. It counts for credentials
// that references name and for those that the SDK finds.
func TestAuthorities(t *testing.T) {
	w := awstest.New(awstest.Options{})
	server := httptest.NewTLSServer(w)
	t.Cleanup(server.Close)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	named := access(t, w, east)
	named.Endpoint = server.URL
	named.Attempt, named.Deadline = model.Duration(10e9), model.Duration(20e9)
	found := named
	found.AccessKey, found.SecretKey = "", ""
	t.Setenv("AWS_ACCESS_KEY_ID", w.Account(home).AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", w.Account(home).SecretKey)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	for name, a := range map[string]awsbase.Access{"named": named, "found": found} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			o := awsbase.Options{Around: func(c aws.HTTPClient) aws.HTTPClient { return counted{c, &n} }}
			t.Setenv("AWS_CA_BUNDLE", bundle)
			if id, err := open(t, awsbase.New(o), a).Identity(t.Context()); err != nil || id.Account != home {
				t.Errorf("%v: %v, want account %s", id, err, home)
			}
			if n.Load() == 0 {
				t.Error("nothing went through what is laid around the client")
			}
			t.Setenv("AWS_CA_BUNDLE", "")
			if _, err := open(t, awsbase.New(o), a).Identity(t.Context()); failure.KindOf(err) != failure.Unavailable {
				t.Errorf("an unknown authority: %v, want unavailable", err)
			}
			t.Setenv("AWS_CA_BUNDLE", bundle+".none")
			if _, err := awsbase.New(o).Session(t.Context(), a); failure.KindOf(err) != failure.Invalid {
				t.Errorf("a bundle that is not there: %v, want invalid", err)
			}
		})
	}
}
