package awsbase_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
)

// TestCodes holds what every error code of the services that drivers call means. The file lists those of the SDK's models for
// RDS, ElastiCache, Route 53, CloudFormation, STS and the parameters of Systems Manager: code, HTTP status, kind.
func TestCodes(t *testing.T) {
	f, err := os.Open("testdata/codes.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		var code, want string
		var status int
		if _, err := fmt.Sscan(lines.Text(), &code, &status, &want); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if got := strings.ReplaceAll(awsbase.KindOfCode(code, status).String(), " ", "_"); got != want {
			t.Errorf("%s is %s, want %s", code, got, want)
		}
	}
	if n < 200 {
		t.Errorf("only %d codes are listed", n)
	}
}
