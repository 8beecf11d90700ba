package dns

import (
	"fmt"
	"os"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/model"
)

func TestConformance(t *testing.T) {
	b := startBind(t)
	raw, err := os.ReadFile(b.conf["KEY_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	key, _ := keyText(string(raw))
	serial := func() uint32 { return b.answers(t, "demo.test.", mdns.TypeSOA)[0].(*mdns.SOA).Serial }
	// Each request is for a name of its own; the zone's serial counts the changes since.
	n, before := 0, uint32(0)
	redirect := func(t testing.TB) driver.Request {
		n++
		name := fmt.Sprintf("n%d.demo.test.", n)
		b.change(t, nil, name+" 30 IN A 192.0.2.1")
		before = serial()
		return request(t, b.settings(map[string]any{"name": name}), sites, "west")
	}
	drivertest.Run(t, drivertest.Config{
		New:  func() driver.Driver { return newDriver(t) },
		Must: []model.Action{model.ActionRedirect},
		Actions: map[model.Action]drivertest.Action{
			model.ActionRedirect: {Request: redirect},
		},
		Targets: func(t testing.TB) []driver.Target { return []driver.Target{redirect(t).Target} },
		Effects: func(_ testing.TB, _ driver.Request) int { return int(serial() - before) },
		State:   func(testing.TB) string { return strings.TrimSpace(fmt.Sprint(serial())) },
		Secret:  key,
	})
}
