package route53

import (
	"testing"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight/preflighttest"
	"github.com/lifeboat-dr/lifeboat/model"
)

func TestPolicyIsEnoughAndNeeded(t *testing.T) {
	for _, zone := range []string{"by name", "by id"} {
		t.Run(zone, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *scene) {
				settings := m{"names": []string{"shop.example.com"}, "type": "A"}
				if zone == "by id" {
					settings["zone"] = s.zone
				}
				req := s.request(t, "west", settings, m{"values": []string{"192.0.2.1"}}, m{"values": []string{"198.51.100.1"}})
				rig := preflighttest.Rig{World: s.w, User: "arn:aws:iam::" + account + ":user/admin", Driver: s.d, Resource: req.Resource}
				rig.Life = func() {
					for _, to := range []model.SiteID{"west", "east"} {
						step := req
						step.Site, step.Peer = to, map[model.SiteID]model.SiteID{"west": "east", "east": "west"}[to]
						s.move(t, step)
					}
				}
				rig.Run(t)
			})
		})
	}
}
