package files

import (
	"fmt"
	"path"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/files/job"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Settings are what is kept of a folder, at all its sites.
type Settings struct {
	Paths             []string `json:"paths,omitempty" jsonschema:"description=What of the folder is kept\\, relative to it. All when left out"`
	Exclude           []string `json:"exclude,omitempty" jsonschema:"description=Patterns of what is not kept\\, as restic's --exclude reads them"`
	ExcludeFiles      []string `json:"exclude_files,omitempty" jsonschema:"description=Files on the host with such patterns\\, one a line\\, as restic's --exclude-file reads them"`
	ExcludeCaches     bool     `json:"exclude_caches,omitempty" jsonschema:"description=Leave out folders with a CACHEDIR.TAG"`
	ExcludeIfPresent  []string `json:"exclude_if_present,omitempty" jsonschema:"description=Leave out folders that hold a file of such a name"`
	ExcludeLargerThan string   `json:"exclude_larger_than,omitempty" jsonschema:"description=Leave out files larger than this\\, such as 500M"`
	OneFileSystem     bool     `json:"one_file_system,omitempty" jsonschema:"description=Do not enter other file systems that are mounted below"`
	Verify            string   `json:"verify,omitempty" jsonschema:"enum=always,enum=drill,enum=never,description=When what was restored is read back and compared; drill when left out"`
}

// Site is where the folder is at a site.
type Site struct {
	Folder   string   `json:"folder" jsonschema:"required,description=The folder\\, absolute. It must not be a mount point: it is renamed when it moves"`
	Via      []string `json:"via,omitempty" jsonschema:"description=A prefix that leads to the host: [ssh\\, web-1] or [runuser\\, -u\\, shop\\, --]. This machine when left out"`
	Lifeboat string   `json:"lifeboat,omitempty" jsonschema:"description=The lifeboat binary on the host; this one on this machine\\, else the one on the PATH there"`
	Work     string   `json:"work,omitempty" jsonschema:"description=Where records of jobs are kept on the host; .lifeboat beside the folder when left out"`
	Drill    *Drill   `json:"drill,omitempty" jsonschema:"description=Where a drill restores to"`
}

// Drill is where a drill restores to.
type Drill struct {
	Folder string `json:"folder" jsonschema:"required,description=The folder below which each drill makes one of its own"`
}

// Validate checks what can be seen without looking.
func (s *Settings) Validate() error {
	for i, p := range s.Paths {
		if !path.IsAbs("/"+p) || path.Clean(p) != strings.TrimSuffix(p, "/") || p == "" || path.IsAbs(p) || p == ".." || strings.HasPrefix(p, "../") {
			return fmt.Errorf("paths[%d]: %q is not a path below the folder", i, p)
		}
	}
	for i, f := range s.ExcludeFiles {
		if !path.IsAbs(f) {
			return fmt.Errorf("exclude_files[%d]: %q is not an absolute path", i, f)
		}
	}
	switch s.Verify {
	case "", "always", "drill", "never":
	default:
		return fmt.Errorf("verify: %q is none of always, drill, never", s.Verify)
	}
	if err := s.selection().Validate(); err != nil {
		return err
	}
	return nil
}

func (s *Settings) selection() job.Selection {
	return job.Selection{Paths: s.Paths, Exclude: s.Exclude, ExcludeFiles: s.ExcludeFiles, ExcludeCaches: s.ExcludeCaches, ExcludeIfPresent: s.ExcludeIfPresent,
		ExcludeLargerThan: s.ExcludeLargerThan, OneFileSystem: s.OneFileSystem}
}

// Validate checks what can be seen without looking.
func (s *Site) Validate() error {
	folders := map[string]string{"folder": s.Folder, "work": s.Work}
	if s.Drill != nil {
		folders["drill.folder"] = s.Drill.Folder
	}
	for _, name := range []string{"folder", "work", "drill.folder"} {
		p, there := folders[name]
		if !there || name == "work" && p == "" || driver.Unfilled(p) {
			continue
		}
		if !path.IsAbs(p) || path.Clean(p) == "/" {
			return fmt.Errorf("%s: %q is not an absolute path below /", name, p)
		}
	}
	if len(s.Via) > 0 && s.Via[0] == "" {
		return fmt.Errorf("via: the first word is empty")
	}
	if s.Drill != nil && s.Folder != "" {
		live, drill := path.Clean(s.Folder)+"/", path.Clean(s.Drill.Folder)+"/"
		if strings.HasPrefix(live, drill) || strings.HasPrefix(drill, live) {
			return fmt.Errorf("drill.folder: %q and the live folder are one in the other", s.Drill.Folder)
		}
	}
	return nil
}

// place is the folder at one site.
type place struct {
	target driver.Target
	own    Settings
	at     Site
	site   model.SiteID
	vault  model.Vault
}

func newPlace(t driver.Target, site model.SiteID) (*place, error) {
	own, at, err := driver.SettingsOf[Settings, Site](t, site)
	if err != nil {
		return nil, err
	}
	if at.Folder == "" {
		return nil, failure.New(failure.Invalid, "use", string(t.Resource.ID), "folder: is not set at site %s", site)
	}
	if t.Resource.Vault == nil {
		return nil, failure.New(failure.Invalid, "use", string(t.Resource.ID), "it has no vault").WithHint("name one, as in vault: main")
	}
	at.Folder = path.Clean(at.Folder)
	return &place{target: t, own: own, at: at, site: site, vault: *t.Resource.Vault}, nil
}

func (p *place) host() hostexec.Host { return hostexec.Host{Via: p.at.Via} }

func (p *place) subject() string { return string(p.target.Resource.ID) + " at " + string(p.site) }

func (p *place) whose() vaultjob.Whose {
	return vaultjob.Whose{App: p.target.App, Resource: p.target.Resource.ID}
}

// work is where records of jobs are.
func (p *place) work() string {
	if p.at.Work != "" {
		return p.at.Work
	}
	return path.Join(path.Dir(p.at.Folder), ".lifeboat")
}

// drillFolder is where the copy of one drill lies.
func (p *place) drillFolder(token string) string {
	return path.Join(p.at.Drill.Folder, token)
}
