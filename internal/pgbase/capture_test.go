package pgbase_test

import (
	"testing"
)

func TestRestored(t *testing.T) {
	for _, name := range []string{"protocol", "folder"} {
		t.Run(name, func(t *testing.T) {
			c := start(t, "--data-checksums")
			c.exec("create table orders as select i as id, md5(i::text) as what from generate_series(1, 20000) i", "create index on orders (what)")
			v, dir := newVault(t)
			res := capture(t, v, c.modes()[name])
			t.Logf("%+v", res)
			restic(t, dir, "check", "--read-data")
			c.restore(dir, res.Snapshot)
			if got := c.text("select count(*) from orders"); got != "20000" {
				t.Errorf("%s orders are there", got)
			}
		})
	}
}
