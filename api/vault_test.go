package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/api"
)

// TestPassphrasesAreNeverWritten holds for every verb, and for requests that hold one.
func TestPassphrasesAreNeverWritten(t *testing.T) {
	secret := api.Passphrase("correct horse")
	access := api.VaultAccess{Password: &secret, Replica: &api.VaultAccess{Password: &secret}}
	for _, v := range []any{secret, access, api.VaultKeyRequest{VaultAccess: access, NewPassword: &secret}, api.VaultUserRequest{Password: &secret}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, written := range []string{string(text), fmt.Sprintf("%v %+v %#v", v, v, v)} {
			if strings.Contains(written, "horse") {
				t.Errorf("%T is written as %s", v, written)
			}
		}
	}
	for _, verb := range []string{"%v", "%s", "%q", "%x", "%d", "%#v"} {
		if got := fmt.Sprintf(verb, secret); got != "[redacted]" {
			t.Errorf("%s gives %q", verb, got)
		}
	}
}
