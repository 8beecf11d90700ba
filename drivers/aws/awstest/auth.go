package awstest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Credentials are a caller's.
type Credentials struct{ AccessKey, SecretKey, SessionToken string }

// principal is who calls.
type principal struct {
	account, arn, user string
	secret, token      string
	expires            time.Time // zero: never
	allow              []string  // nil: everything
}

// Role is one that can be assumed.
type Role struct {
	Account, Name string
	// Trust lists who may: ARNs of users and roles, or account ids. Empty: whoever is in the role's account.
	Trust []string
	// ExternalID must be given, if it is set.
	ExternalID string
	// Allow lists what the role may do, as in policies: "rds:Describe*". nil: everything.
	Allow []string
}

// Role makes a role, or replaces it, and gives its ARN.
func (w *World) Role(r Role) (arn string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.account(r.Account).roles[r.Name] = &r
	return "arn:aws:iam::" + r.Account + ":role/" + r.Name
}

// User makes a user who may do what allow lists, nil: everything.
func (w *World) User(acct, name string, allow []string) Credentials {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.account(acct)
	c := Credentials{AccessKey: "AKIA" + strings.ToUpper(name) + acct, SecretKey: "secret-of-" + name + acct}
	w.keys[c.AccessKey] = &principal{account: acct, arn: "arn:aws:iam::" + acct + ":user/" + name, user: "AIDA" + name, secret: c.SecretKey, allow: allow}
	return c
}

// Revoke makes an access key unknown.
func (w *World) Revoke(accessKey string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.keys, accessKey)
}

// scope is what a signature says of itself (AWS Signature Version 4).
type scope struct {
	key, day, region, service string
	signed                    []string
	signature                 string
}

// scopeOf reads the Authorization header.
func scopeOf(req *http.Request) (s scope, err error) {
	header, ok := strings.CutPrefix(req.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return s, &apiError{http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token"}
	}
	for _, part := range strings.Split(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			p := strings.Split(value, "/")
			if len(p) != 5 {
				return s, refuse("IncompleteSignature", "Credential must have exactly 5 slash-delimited elements")
			}
			s.key, s.day, s.region, s.service = p[0], p[1], p[2], p[3]
		case "SignedHeaders":
			s.signed = strings.Split(value, ";")
		case "Signature":
			s.signature = value
		}
	}
	if s.key == "" || s.signature == "" {
		return s, refuse("IncompleteSignature", "Authorization header requires 'Credential' and 'Signature' parameters")
	}
	return s, nil
}

// authenticate finds out who calls, as AWS does.
func (w *World) authenticate(c *call, req *http.Request, s scope) error {
	invalid, expired, bad := "InvalidClientTokenId", "ExpiredToken", "SignatureDoesNotMatch"
	switch c.service {
	case "ssm":
		invalid, expired, bad = "UnrecognizedClientException", "ExpiredTokenException", "InvalidSignatureException"
	case "ec2":
		invalid, expired, bad = "AuthFailure", "RequestExpired", "AuthFailure"
	}
	deny := func(code, text string) error { return &apiError{http.StatusForbidden, code, text} }
	switch {
	case c.who == nil, c.who.token != req.Header.Get("X-Amz-Security-Token"):
		return deny(invalid, "The security token included in the request is invalid.")
	case !c.who.expires.IsZero() && !c.now.Before(c.who.expires):
		return deny(expired, "The security token included in the request is expired")
	case s.signature != sign(c.who.secret, req, s, c.body):
		return deny(bad, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	return nil
}

// sign works out what the signature should be (AWS General Reference, "Signature Version 4 signing process").
func sign(secret string, req *http.Request, s scope, body []byte) string {
	var headers strings.Builder
	for _, name := range s.signed {
		var value string
		switch name {
		case "host":
			value = req.Host
			if value == "" {
				value = req.URL.Host
			}
		case "content-length":
			value = strconv.Itoa(len(body))
		default:
			value = strings.Join(req.Header.Values(name), ",")
		}
		headers.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	path := req.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	segments := strings.Split(path, "/")
	for i, seg := range segments {
		segments[i] = escape(seg)
	}
	var query []string
	for name, values := range req.URL.Query() {
		for _, v := range values {
			query = append(query, escape(name)+"="+escape(v))
		}
	}
	slices.Sort(query)
	payload := req.Header.Get("X-Amz-Content-Sha256")
	if payload == "" {
		payload = hash(body)
	}
	request := strings.Join([]string{req.Method, strings.Join(segments, "/"), strings.Join(query, "&"), headers.String(), strings.Join(s.signed, ";"), payload}, "\n")
	day := s.day + "/" + s.region + "/" + s.service + "/aws4_request"
	text := "AWS4-HMAC-SHA256\n" + req.Header.Get("X-Amz-Date") + "\n" + day + "\n" + hash([]byte(request))
	key := []byte("AWS4" + secret)
	for _, part := range strings.Split(day, "/") {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, text))
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// authorize refuses what the caller may not do.
func (w *World) authorize(c *call) error {
	name := c.service + ":" + c.action
	all, governed := w.policies[c.who.of()]
	switch {
	case name == "sts:GetCallerIdentity":
		return nil
	case governed:
		return w.permitted(c, all)
	case c.who.allow == nil:
		return nil
	}
	if slices.ContainsFunc(c.who.allow, func(p string) bool { return fits(p, name) }) {
		return nil
	}
	return denied(c, name, "")
}

// denied is the answer to a call that is not allowed.
func denied(c *call, name, on string) error {
	code, status := "AccessDenied", http.StatusForbidden
	switch c.service {
	case "ec2":
		return &apiError{status, "UnauthorizedOperation", "You are not authorized to perform this operation. User: " + c.who.arn + " is not authorized to perform: " + name + on + " because no identity-based policy allows the " + name + " action"}
	case "ssm", "kms", "servicequotas":
		code, status = "AccessDeniedException", http.StatusBadRequest
	}
	return &apiError{status, code, fmt.Sprintf("User: %s is not authorized to perform: %s%s because no identity-based policy allows the %s action", c.who.arn, name, on, name)}
}

func stsActions() map[string]action {
	return map[string]action{
		"GetCallerIdentity": {"", getCallerIdentity},
		"AssumeRole":        {"RoleArn! RoleSessionName! ExternalId DurationSeconds Policy", assumeRole},
	}
}

func getCallerIdentity(c *call) (any, error) {
	return struct{ Account, Arn, UserId string }{c.who.account, c.who.arn, c.who.user}, nil
}

// sessionName is the model's form of names of sessions.
var sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

func assumeRole(c *call) (any, error) {
	_, _, _, acct, resource := splitARN(c.p.str("RoleArn"))
	name := strings.TrimPrefix(resource, "role/")
	var role *Role
	if a := c.w.accounts[acct]; a != nil {
		role = a.roles[name]
	}
	trusted := func(r *Role) bool {
		if len(r.Trust) == 0 {
			return c.account == r.Account
		}
		return slices.Contains(r.Trust, c.who.arn) || slices.Contains(r.Trust, c.account)
	}
	if role == nil || !trusted(role) || role.ExternalID != "" && role.ExternalID != c.p.str("ExternalId") {
		return nil, &apiError{http.StatusForbidden, "AccessDenied", "User: " + c.who.arn + " is not authorized to perform: sts:AssumeRole on resource: " + c.p.str("RoleArn")}
	}
	session := c.p.str("RoleSessionName")
	if !sessionName.MatchString(session) {
		return nil, refuse("ValidationError", "1 validation error detected: Value '%s' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: %s", session, sessionName)
	}
	lasts, ok := c.p.num("DurationSeconds")
	if !ok {
		lasts = 3600
	}
	if lasts < 900 || lasts > 43200 || lasts > 3600 && strings.Contains(c.who.arn, ":assumed-role/") {
		return nil, refuse("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	n := c.w.next()
	p := &principal{
		account: acct, arn: "arn:aws:sts::" + acct + ":assumed-role/" + name + "/" + session, user: "AROA" + name + ":" + session,
		secret: fmt.Sprintf("secret-%d", n), token: fmt.Sprintf("token-%d", n), expires: c.now.Add(time.Duration(lasts) * time.Second), allow: role.Allow,
	}
	key := fmt.Sprintf("ASIA%016d", n)
	c.w.keys[key] = p
	type credentials struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string }
	type user struct{ AssumedRoleId, Arn string }
	return struct {
		Credentials     credentials
		AssumedRoleUser user
	}{credentials{key, p.secret, p.token, iso(p.expires)}, user{p.user, p.arn}}, nil
}
