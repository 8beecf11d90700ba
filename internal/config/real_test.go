package config

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/drivers/all"
	"github.com/lifeboat-dr/lifeboat/examples"
)

// yamlBlocks finds the YAML in a document.
var yamlBlocks = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// loadReal loads a document with the drivers that the binary has.
func loadReal(t *testing.T, doc string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), Name)
	if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, all.Registry(slog.New(slog.DiscardHandler))); err != nil {
		t.Errorf("%v", err)
	}
}

// TestDocumentsLoad loads every whole configuration of the documentation: those that begin with version.
func TestDocumentsLoad(t *testing.T) {
	for _, file := range []string{"configuration.md", "second-app.md", "aws-dr-orchestrator.md"} {
		t.Run(file, func(t *testing.T) {
			loaded := 0
			for _, m := range yamlBlocks.FindAllStringSubmatch(readFile(t, "../../docs/"+file), -1) {
				if strings.HasPrefix(m[1], "version: 1\n") {
					loadReal(t, m[1])
					loaded++
				}
			}
			if loaded == 0 {
				t.Error("there is no configuration in it")
			}
		})
	}
}

// switchedOff is a line of the template that is there to be switched on.
var switchedOff = regexp.MustCompile(`(?m)^( *)#(\S|  )`)

func TestTemplateLoads(t *testing.T) {
	loadReal(t, string(Template()))
	whole := switchedOff.ReplaceAllString(string(Template()), "$1$2")
	if whole == string(Template()) || !strings.Contains(whole, "\nplans:") {
		t.Error("nothing was switched on")
	}
	loadReal(t, whole)
}

// TestMistakesOfAWS makes a mistake each in the example of databases in AWS, and wants to be told of it where it stands.
func TestMistakesOfAWS(t *testing.T) {
	second := "  more:\n    home: dublin\n    recovery: [frankfurt]\n    resources:\n      name:\n        kind: aws.route53.record\n" +
		"        settings: {zone: shop.example, names: [WWW.shop.example.], type: CNAME}\n" +
		"        sites: {dublin: {values: [a.example]}, frankfurt: {values: [b.example]}}\n"
	for _, c := range []struct{ name, old, new, line, want string }{
		{"a region twice", "region: eu-central-1", "region: eu-west-1", "frankfurt: {group: shop-sessions-frankfurt}", "a global datastore has one replication group in a region"},
		{"an account that is none", `frankfurt: {aws: {account: "111111111111"`, `frankfurt: {aws: {account: "11111"`, "frankfurt: {aws:", "is not 12 digits"},
		{"a name too long", "instance: shop-billing", "instance: " + strings.Repeat("a", 64), "instance: a", "up to 63 letters"},
		{"an unknown setting", "deletion_protection: true", "deletion_protected: true", "deletion_protected", `did you mean "deletion_protection"?`},
		{"copies that keep nothing", "copies: {keep: {last: 2}}", "copies: {keep: {last: 0}}", "copies:", "says nothing about what stays"},
		{"points that keep nothing", "keep: {last: 3}", "keep: {}", "protect:", "keep says nothing about what stays"},
		{"a negative ttl", "ttl: 30s", "ttl: -30s", "ttl:", "is negative"},
		{"no recovery", "    recovery: [frankfurt]\n", "", "  shop:", `has no "recovery"`},
		{"a drill where it serves", "drill: {subnet_group: shop-apart}", "drill: {subnet_group: shop}", "drill: {subnet_group: shop}", "is not apart"},
		{"one entrance for both sites", "entrance.frankfurt.shop.example", "entrance.dublin.shop.example", "frankfurt: {values:", "there is nothing to switch"},
		{"an instance twice", "      orders:\n", "      again:\n        kind: aws.rds.instance\n        sites:\n          dublin: {instance: other}\n          frankfurt: {instance: shop-billing}\n      orders:\n",
			"      again:", `resource "again" of app "shop" is what resource "billing" of app "shop" is already: instance shop-billing in eu-central-1`},
		{"a name in two apps", "  shop:\n    home: dublin\n", second + "  shop:\n    home: dublin\n", "      name:\n        kind: aws.route53.record\n        needs", "the CNAME record of www.shop.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Count(examples.AWSDatabases, c.old) == 0 {
				t.Fatalf("the example has no %q", c.old)
			}
			text := strings.Replace(examples.AWSDatabases, c.old, c.new, 1)
			path := filepath.Join(t.TempDir(), Name)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Load(path, all.Registry(slog.New(slog.DiscardHandler)))
			if err == nil {
				t.Fatal("it is taken")
			}
			before, _, there := strings.Cut(text, c.line)
			line := 1 + strings.Count(before, "\n")
			if !there || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), fmt.Sprintf(":%d:", line)) {
				t.Errorf("want %q in line %d, got %v", c.want, line, err)
			}
		})
	}
}
