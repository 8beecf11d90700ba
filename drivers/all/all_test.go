package all

import (
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/model"
)

func TestRegistry(t *testing.T) {
	r := Registry(slog.New(slog.DiscardHandler))
	want := []model.Kind{"aws.aurora.cluster", "aws.aurora.global", "aws.elasticache.global", "aws.elasticache.replicationgroup", "aws.rds.instance", "aws.route53.record", "command", "dns.record", "exec", "fake", "fake.stateful", "files", "http", "postgres", "sql", "tcp"}
	if diff := cmp.Diff(want, r.Kinds()); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	for _, kind := range r.Kinds() {
		d, err := r.Get(kind)
		if err != nil {
			t.Fatal(err)
		}
		if d.Facts().Summary == "" {
			t.Errorf("%s says nothing of itself", kind)
		}
	}
	for _, kind := range []model.Kind{"http", "tcp", "sql", "exec"} {
		d, _ := r.Get(kind)
		if _, ok := driver.As[driver.Asker](d); !ok {
			t.Errorf("%s cannot stand under probe:", kind)
		}
		if !driver.Can(d, model.ActionVerify) {
			t.Errorf("%s cannot stand under checks:", kind)
		}
	}
}
