package emulator_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/emulator"
)

// TestMotoIAM: what nobody signed is served as often as was asked for, and then refused.
func TestMotoIAM(t *testing.T) {
	t.Parallel()
	at := emulator.Start(t, emulator.Moto, emulator.MotoIAM(2))
	for n, want := range []int{http.StatusOK, http.StatusOK, http.StatusForbidden} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at, strings.NewReader("Action=DescribeDBInstances&Version=2014-10-31"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=nobody/20260301/us-east-1/rds/aws4_request, SignedHeaders=host;x-amz-date, Signature=none")
		req.Header.Set("X-Amz-Date", "20260301T000000Z")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("call %d is answered %d: %s; want %d", n+1, resp.StatusCode, text, want)
		}
	}
}
