package rehearsal

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/model"
)

// TestAlone: what is played has no way to anything real: no credentials, no roles, no endpoints, no secrets, no probe, no other app.
func TestAlone(t *testing.T) {
	site := func(region string) json.RawMessage {
		return json.RawMessage(`{"aws": {"account": "111111111111", "region": "` + region + `", "profile": "prod", "roles": [{"arn": "arn:aws:iam::111111111111:role/dr", "external_id": "exec:pass show id"}],
			"endpoint": "https://aws.example", "endpoints": {"rds": "https://rds.example"}, "access_key": "file:/etc/key", "secret_key": "exec:pass show aws", "attempt": "2s"},
			"group": "sessions", "auth_token": "file:/etc/token", "number": 12345678901234567890}`)
	}
	app := model.App{ID: "shop", Home: "east", Recovery: []model.SiteID{"west"}, Probe: &model.Check{Kind: "http"}, Resources: []model.Resource{
		{ID: "sessions", Kind: "aws.elasticache.replicationgroup", Settings: json.RawMessage(`{"tokens": ["exec:pass show token"]}`), Sites: map[model.SiteID]json.RawMessage{"east": site("eu-west-1"), "west": site("eu-central-1")}},
	}}
	cfg := &model.Config{Sites: []model.Site{{ID: "east"}}, Apps: []model.App{app, {ID: "bank"}}, Plans: []model.CustomPlan{{Name: "all"}}, Journal: model.JournalConfig{Endpoints: []string{"etcd.example"}}}
	cfg.Sites[0].AWS = json.RawMessage(`{"account": "111111111111", "region": "eu-west-1", "profile": "prod"}`)
	work := model.Resource{ID: "orders", Kind: "aws.aurora.global", Sites: map[model.SiteID]json.RawMessage{"east": site("eu-west-1")}}
	job := &Job{Documents: documents{"all": {Work: []model.PayloadWork{{Resource: work}}}}}
	if err := job.alone(cfg, []model.App{app}); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"prod", "role", "example", "/etc", "pass show", "bank", "http", "etcd"} {
		if strings.Contains(string(text), left) {
			t.Errorf("%q is still in %s", left, text)
		}
	}
	for _, kept := range []string{`"account":"111111111111"`, `"region":"eu-central-1"`, `"attempt":"2s"`, "12345678901234567890", `"env:LIFEBOAT_REHEARSAL_KEY_111111111111"`} {
		if !strings.Contains(string(text), kept) {
			t.Errorf("%q is not in %s", kept, text)
		}
	}
	if strings.Contains(string(app.Resources[0].Sites["east"]), "LIFEBOAT") {
		t.Error("the configuration itself was changed")
	}
}
