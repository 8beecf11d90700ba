package route53

import (
	"testing"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/workbench"
)

// TestHandlesOnDisk: handles are read as they stand in journals, and written so.
func TestHandlesOnDisk(t *testing.T) {
	workbench.Handles(t, 1, map[string]handle{
		`{"zone":"Z1","change":"C1","old_ttl":60,"before":["shop.example.com: A 192.0.2.1"]}`: {Zone: "Z1", Change: "C1", OldTTL: 60, Before: []string{"shop.example.com: A 192.0.2.1"}},
		`{"zone":"Z1","old_ttl":0}`: {Zone: "Z1"},
	})
}
