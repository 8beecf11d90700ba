package world

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"text/template"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/cluster"
)

// configuration is the lifeboat.yaml of the world, as a user would write it. Every text goes through quote: a JSON
// text is a YAML one.
var configuration = template.Must(template.New("lifeboat.yaml").Funcs(template.FuncMap{"quote": quote, "list": list}).Parse(
	`# The shop of the demo: PostgreSQL, a folder of uploads, a web program and a name, at two sites on this machine.
{{- if .FromVault}} The
# database has no standby: it comes back from the vault, and from the log that the other site receives.
{{- end}}
version: 1
state: state

sites:
  east: {description: "the home site, on {{.East}}"}
  west: {description: "the recovery site, on {{.West}}"}

vaults:
  main:
    url: {{quote .Vault}}
    user: {{.App}}
    user_password: {{quote .VaultUser}}
    password: {{quote .VaultPassword}}
    cache: none

apps:
  shop:
    home: east
    recovery: [west]
    objective: {rto: 10s, rpo: 10s}
    protect: {marker: 250ms, probe: 100ms, schedule: "@every 2s"}
    probe:                          # what a client would ask; measures the RTO
      kind: http
      settings: {url: {{quote .HealthByName}}, resolver: {{quote .Resolver}}, timeout: 1s}
    resources:
      db:
        kind: postgres
        {{- if .FromVault}}
        vault: main
        protect: {schedule: "@every 15s"}
        {{- end}}
        settings:
          database: {{.Database}}
          user: {{.Admin}}
          password: {{quote .AdminPassword}}
          synchronous: true         # an order is acknowledged only when both sites have it
          {{- if .FromVault}}
          recovery: vault
          {{- end}}
        sites:
          {{- range .Sites}}
          {{.Name}}:
            host: {{.Address}}
            port: {{$.Ports.Postgres}}
            data: {{quote .Data}}
            bin: {{quote $.Bin}}
            {{- if $.Via}}
            via: {{list $.Via}}
            {{- end}}
            options: {cluster_name: {{.Name}}}
            drill: {folder: {{quote .Drill}}}
            {{- if $.FromVault}}
            spool: {{quote .Spool}}
            lifeboat: {{quote $.HostBinary}}
            {{- end}}
          {{- end}}
        checks:
          - name: orders are readable
            kind: sql
            within: 60s
            settings:
              endpoint: "${db.endpoint}"
              database: {{.Database}}
              user: {{.Admin}}
              password: {{quote .AdminPassword}}
              query: select count(*) > 0 from orders
              expect: "t"
      uploads:
        kind: files
        vault: main
        sites:
          {{- range .Sites}}
          {{.Name}}: {folder: {{quote .Uploads}}, drill: {folder: {{quote .UploadsDrill}}}}
          {{- end}}
      web:
        kind: command
        needs: [db, uploads]
        settings:
          background: true
          probe_http: "http://${self.endpoint}/healthz"
        sites:
          {{- range .Sites}}
          {{.Name}}:
            start: {{list .Start}}
            folder: {{quote .Program}}
            outputs: {endpoint: {{quote .Shop}}}
            drill: {folder: {{quote .ProgramDrill}}, outputs: {endpoint: {{quote .ShopDrill}}}}
          {{- end}}
        checks:
          - name: the shop answers
            kind: http
            within: 60s
            settings: {url: "http://${web.endpoint}/healthz"}
      name:
        kind: dns.record
        needs: [web]
        settings:
          zone: {{.Zone}}
          name: {{.Name}}
          type: A
          ttl: {{.TTL}}
          servers: [{{quote .Resolver}}]
          tsig: {name: {{.Key}}, algorithm: {{.Algorithm}}, secret: {{quote .Secret}}}
        sites:
          {{- range .Sites}}
          {{.Name}}: {values: [{{.Address}}]}
          {{- end}}
    checks:
      - name: the shop takes orders under its name
        kind: http
        within: 60s
        on: [failover, failback]
        settings: {url: {{quote .HealthByName}}, resolver: {{quote .Resolver}}}
`))

// siteData is what the template says of one site.
type siteData struct {
	Name, Address, Data, Drill, Spool, Program, ProgramDrill, Shop, ShopDrill, Uploads, UploadsDrill string

	Start []string
}

// writeConfig writes lifeboat.yaml.
func (w *World) writeConfig(context.Context) error {
	var sites []siteData
	for _, site := range []string{East, West} {
		at := func(port int) string { return net.JoinHostPort(Addresses[site], strconv.Itoa(port)) }
		start := append(w.shopArgs(site), "--listen", "${self.endpoint}", "--database", "${db.endpoint}", "--uploads", "${uploads.path}")
		sites = append(sites, siteData{Name: site, Address: Addresses[site], Data: w.path(site, "pgdata"), Drill: w.path(site, "drill"), Spool: w.path(site, "spool"),
			Uploads: w.path(site, uploads), UploadsDrill: w.path(site, "uploads-drill"),
			Program: w.path(site, "shop"), ProgramDrill: w.path(site, "shop-drill"),
			Shop: at(w.state.Ports.Shop), ShopDrill: at(w.state.Ports.ShopDrill), Start: start})
	}
	data := map[string]any{
		"East": Addresses[East], "West": Addresses[West], "Sites": sites, "Ports": w.state.Ports, "Resolver": w.Resolver(),
		"HealthByName": fmt.Sprintf("http://%s:%d/healthz", trimDot(Name), w.state.Ports.Shop),
		"Database":     Database, "Admin": cluster.Admin, "AdminPassword": "file:" + w.path("secrets", adminPassword),
		"Bin": w.inst.Bin, "Via": w.inst.As, "Zone": Zone, "Name": Name, "TTL": TTL.String(),
		"App": App, "FromVault": w.db == FromVault, "HostBinary": w.hostBinary(),
		"Vault": w.vaultURL(), "VaultPassword": "file:" + w.path("secrets", vaultPassword), "VaultUser": "file:" + w.path("secrets", vaultUser),
		"Key": keyName, "Algorithm": strings.TrimSuffix(keyAlg, "."), "Secret": "file:" + w.path("secrets", tsigKey),
	}
	var text bytes.Buffer
	if err := configuration.Execute(&text, data); err != nil {
		return failure.WrapAs(failure.Internal, err, "write", "lifeboat.yaml")
	}
	if err := os.WriteFile(w.Config(), text.Bytes(), 0o644); err != nil {
		return failure.WrapAs(failure.Denied, err, "write", w.Config())
	}
	return nil
}

func quote(text string) (string, error) {
	b, err := json.Marshal(text)
	return string(b), err
}

func list(words []string) (string, error) {
	b, err := json.Marshal(words)
	return string(b), err
}
