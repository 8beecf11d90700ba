package pgbackrest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// signed puts a checksum behind an info file's text, as pgBackRest does.
func signed(text string) []byte {
	var sum strings.Builder
	section := ""
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		switch {
		case strings.HasPrefix(line, "["):
			if section != "" {
				sum.WriteString("},")
			}
			section = strings.Trim(line, "[]")
			sum.WriteString(`"` + section + `":{`)
		case line != "":
			key, value, _ := splitLine([]byte(line))
			if !strings.HasSuffix(sum.String(), "{") {
				sum.WriteString(",")
			}
			sum.WriteString(string(quote(key)) + ":" + string(value))
		}
	}
	hash := sha1.Sum([]byte("{" + sum.String() + "}}"))
	return []byte(text + "\n[backrest]\nbackrest-checksum=\"" + hex.EncodeToString(hash[:]) + "\"\n")
}

const head = "[backrest]\nbackrest-format=5\nbackrest-version=\"2.45\"\n"

func TestInfoIsVerified(t *testing.T) {
	good := signed(head + "\n[db]\ndb-id=1\nodd=name={\"size\":1}\n\"quoted\\name=2")
	i, err := parseInfo(good)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range i.entries {
		got = append(got, e.section+" "+e.key+" "+string(e.value))
	}
	if diff := cmp.Diff([]string{"db db-id 1", `db odd=name {"size":1}`, `db "quoted\name 2`}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	for name, c := range map[string]struct {
		text []byte
		kind failure.Kind
	}{
		"a changed value": {bytes.Replace(good, []byte("db-id=1"), []byte("db-id=2"), 1), failure.Corrupt},
		"a changed key":   {bytes.Replace(good, []byte("db-id=1"), []byte("db-ix=1"), 1), failure.Corrupt},
		"cut short":       {good[:len(good)-50], failure.Corrupt},
		"nothing":         {nil, failure.Corrupt},
		"no section":      {[]byte("a=1\n"), failure.Corrupt},
		"no value":        {signed(head + "a"), failure.Corrupt},
		"another format":  {signed(strings.Replace(head, "=5", "=6", 1)), failure.Unsupported},
	} {
		if _, err := parseInfo(c.text); failure.KindOf(err) != c.kind {
			t.Errorf("%s: got %v, want %v", name, err, c.kind)
		}
	}
}

// sealed is what `openssl enc -aes-256-cbc -md sha1 -S 0102030405060708 -pass pass:secret` makes of plain, behind the header
// that older versions of it write.
const (
	plain  = "the quick brown fox jumps over the lazy dog\n"
	sealed = "HM963Aydse0xaseOB8eJukGA1FbK2df9693JCf7qqkMNrXnAD0lXKrU7Wochu2zC"
)

func TestDecryptAsOpenSSL(t *testing.T) {
	body, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	salt := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	whole := append(append([]byte(saltMagic), salt...), body...)
	for name, src := range map[string]io.Reader{
		"at once":        decrypt(bytes.NewReader(whole), "secret", false),
		"byte by byte":   decrypt(iotest.OneByteReader(bytes.NewReader(whole)), "secret", false),
		"with the end":   decrypt(iotest.DataErrReader(bytes.NewReader(whole)), "secret", false),
		"without header": decrypt(bytes.NewReader(whole[len(saltMagic):]), "secret", true),
	} {
		if got, err := io.ReadAll(src); err != nil || string(got) != plain {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	for name, text := range map[string][]byte{"cut within a block": whole[:len(whole)-1], "cut between blocks": whole[:len(whole)-16], "only the header": whole[:16],
		"half the header": whole[:9], "not encrypted": []byte(strings.Repeat("plain text ", 9)), "nothing": nil} {
		if got, err := io.ReadAll(decrypt(bytes.NewReader(text), "secret", false)); err == nil {
			t.Errorf("%s: no error, and %q", name, got)
		}
	}
}

// encrypt is the other way round, for the fuzzer.
func encrypt(t *testing.T, text []byte, pass string) []byte {
	salt := []byte("saltsalt")
	var derived, last []byte
	for len(derived) < 48 {
		sum := sha1.Sum(append(append(bytes.Clone(last), pass...), salt...))
		last = sum[:]
		derived = append(derived, last...)
	}
	block, err := aes.NewCipher(derived[:32])
	if err != nil {
		t.Fatal(err)
	}
	pad := aes.BlockSize - len(text)%aes.BlockSize
	out := append(bytes.Clone(text), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, derived[32:48]).CryptBlocks(out, out)
	return append([]byte(saltMagic+string(salt)), out...)
}

func FuzzDecrypt(f *testing.F) {
	f.Add([]byte(""), 1)
	f.Add([]byte(strings.Repeat("0123456789abcdef", 40)), 7)
	f.Fuzz(func(t *testing.T, text []byte, step int) {
		src := io.Reader(bytes.NewReader(encrypt(t, text, "pass")))
		if step&1 == 1 {
			src = iotest.HalfReader(src)
		}
		got, err := io.ReadAll(decrypt(src, "pass", false))
		if err != nil || !bytes.Equal(got, text) {
			t.Fatalf("%d bytes came back as %d, %v", len(text), len(got), err)
		}
	})
}

func manifestText(lines string) []byte {
	return signed(head + `
[backup]
backup-label="20260102-030405F"
backup-reference="20260102-030405F"
backup-timestamp-copy-start=1

[backup:option]
option-compress=true

` + lines + `

[target:file:default]
group=false
mode="0600"
user="postgres"

[target:path:default]
group=false
mode="0700"
user="postgres"
`)
}

func parse(text []byte) (*Manifest, error) {
	i, err := parseInfo(text)
	if err != nil {
		return nil, err
	}
	return parseManifest(i)
}

func TestManifest(t *testing.T) {
	const sum = `"checksum":"0123456789012345678901234567890123456789"`
	m, err := parse(manifestText(`[target:file]
pg_data/base/5/1={"checksum-page":false,"checksum-page-error":[3,[7,9]],` + sum + `,"mode":"0640","size":8192,"timestamp":1}
pg_data/base/5/2={"size":0,"timestamp":2}

[target:path]
pg_data={}
pg_data/base={"user":false}`))
	if err != nil {
		t.Fatal(err)
	}
	f := m.Files[0]
	if f.Mode != 0o640 || f.User != "postgres" || f.Group != "" || f.stored != 8192 || m.Compression != Gz {
		t.Errorf("got %+v, compressed by %s", f, m.Compression)
	}
	if diff := cmp.Diff([][2]int64{{3, 3}, {7, 9}}, f.BadPages); diff != "" {
		t.Errorf("bad pages (-want +got):\n%s", diff)
	}
	if m.Files[1].Mode != 0o600 || m.Paths[0].User != "postgres" || m.Paths[1].User != "" || m.Paths[0].Mode != 0o700 {
		t.Errorf("defaults are not used: %+v %+v", m.Files[1], m.Paths)
	}
	for name, line := range map[string]string{
		"a name that leads elsewhere": `pg_data/../../etc/passwd={` + sum + `,"size":1,"timestamp":1}`,
		"a name outside":              `etc/passwd={` + sum + `,"size":1,"timestamp":1}`,
		"an absolute name":            `/etc/passwd={` + sum + `,"size":1,"timestamp":1}`,
		"no size":                     `pg_data/x={` + sum + `,"timestamp":1}`,
		"a negative size":             `pg_data/x={` + sum + `,"size":-1,"timestamp":1}`,
		"no checksum":                 `pg_data/x={"size":1,"timestamp":1}`,
		"a mode that is none":         `pg_data/x={` + sum + `,"mode":"rwx","size":1,"timestamp":1}`,
		"a reference elsewhere":       `pg_data/x={` + sum + `,"reference":"../other","size":1,"timestamp":1}`,
		"a map without blocks":        `pg_data/x={"bim":5,` + sum + `,"size":10,"timestamp":1}`,
		"a map beyond the file":       `pg_data/x={"bi":1,"bim":50,` + sum + `,"size":10,"timestamp":1}`,
		"a page that is none":         `pg_data/x={"checksum-page":false,"checksum-page-error":["x"],` + sum + `,"size":10,"timestamp":1}`,
	} {
		if _, err := parse(manifestText("[target:file]\n" + line)); failure.KindOf(err) != failure.Corrupt {
			t.Errorf("%s: got %v, want Corrupt", name, err)
		}
	}
	if _, err := parse(bytes.Replace(manifestText(""), []byte("option-compress=true"), []byte(`option-compress=true`), 1)); err != nil {
		t.Errorf("an empty one: %v", err)
	}
	xz := signed(head + "[backup:option]\noption-compress-type=\"xz\"")
	if _, err := parse(xz); failure.KindOf(err) != failure.Unsupported {
		t.Errorf("a compression that is not known: got %v, want Unsupported", err)
	}
}

// FuzzInfo holds that nothing makes the parsers fail otherwise than by an error.
func FuzzInfo(f *testing.F) {
	f.Add(string(manifestText(`[target:file]
pg_data/x={"bi":1,"bic":7,"bim":5,"bni":1,"bno":2,"checksum":"00","size":10,"timestamp":1}`)))
	f.Add(head + "[backup:current]\n20260102-030405F={\"backrest-format\":5,\"db-id\":1}\n[db:history]\n1={\"db-version\":\"15\"}")
	f.Fuzz(func(_ *testing.T, text string) {
		i, err := parseInfo(signed(text))
		if err != nil {
			return
		}
		_, _ = parseManifest(i)
		_, _ = parseBackups(i)
		_, _ = parseArchives(i)
	})
}

// FuzzMap holds that a block map that is read has as many blocks as the file, each within its super block.
func FuzzMap(f *testing.F) {
	number := func(n ...uint64) (out []byte) {
		for _, one := range n {
			out = binary.AppendUvarint(out, one)
		}
		return out
	}
	sum := []byte("123456")
	// One reference, one super block of one block; then one of two blocks of which the second is the file's.
	f.Add(append(number(0, 0<<3|1, 100<<3|1), sum...), int64(1))
	f.Add(append(number(0, 1<<3|1|2|4, 9, 7, 100<<3|1|2|4, 2<<1, 0<<1|1, 1), sum...), int64(1))
	f.Fuzz(func(t *testing.T, text []byte, count int64) {
		if count < 0 || count > 1<<16 {
			return
		}
		blocks, err := readMap(bytes.NewReader(text), 8192, 6, count)
		if err != nil {
			return
		}
		if int64(len(blocks)) != count {
			t.Fatalf("got %d blocks of %d", len(blocks), count)
		}
		for _, b := range blocks {
			if b.offset < 0 || b.stored <= 0 || b.super <= 0 || b.index < 0 || b.index*8192 >= b.super {
				t.Fatalf("got %+v", b)
			}
		}
	})
}

func TestConfig(t *testing.T) {
	const text = `
# a remark
[global]
repo1-path=/srv/repo
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=one=two
repo2-type=s3
repo2-path=/pg
repo2-s3-bucket=b
repo2-s3-endpoint=s3.example.org
repo2-s3-uri-style=path
repo2-storage-port=9000
repo3-type=azure
repo4-host=backup
repo5-cipher-type=none
repo5-cipher-pass=unused
[global:backup]
repo1-path=/nowhere
[main]
repo1-path = /srv/of-main
`
	for _, c := range []struct {
		stanza string
		number int
		want   Location
		kind   failure.Kind
	}{
		{"main", 1, Location{Type: "posix", Path: "/srv/of-main", Passphrase: "one=two"}, 0},
		{"main", 2, Location{Type: "s3", Path: "/pg", Bucket: "b", Endpoint: "s3.example.org:9000", PathStyle: true}, 0},
		{"main", 3, Location{}, failure.Unsupported},
		{"main", 4, Location{}, failure.Unsupported},
		{"main", 5, Location{Type: "posix", Path: "/var/lib/pgbackrest"}, 0},
		{"other", 1, Location{}, failure.NotFound},
	} {
		got, err := ParseConfig([]byte(text), c.stanza, c.number)
		if c.kind != 0 {
			if failure.KindOf(err) != c.kind {
				t.Errorf("%s, %d: got %v, want %v", c.stanza, c.number, err, c.kind)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s, %d: %v (-want +got):\n%s", c.stanza, c.number, err, diff)
		}
	}
	if _, err := ParseConfig([]byte("[main]\nnonsense"), "main", 1); failure.KindOf(err) != failure.Invalid {
		t.Errorf("nonsense: got %v, want Invalid", err)
	}
}
