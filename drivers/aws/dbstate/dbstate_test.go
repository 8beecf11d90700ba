package dbstate

import (
	"slices"
	"testing"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/awsmodel"
)

// TestDocumented has every state that AWS documents have a meaning, and no other.
func TestDocumented(t *testing.T) {
	said := slices.Concat(awsmodel.States("DBInstance.DBInstanceStatus"), awsmodel.States("DBCluster.Status"))
	if len(said) < 40 {
		t.Fatalf("only %d states are documented", len(said))
	}
	for _, s := range said {
		if _, known := meanings[s]; !known {
			t.Errorf("nobody says what %s means", s)
		}
	}
	for s := range meanings {
		if !slices.Contains(said, s) {
			t.Errorf("%s is not documented", s)
		}
	}
	if m := Of("a word of tomorrow"); m != Passing || m.Serves() || m.Broken() {
		t.Errorf("what is not documented is %d", m)
	}
}
