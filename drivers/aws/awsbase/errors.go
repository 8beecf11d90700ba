package awsbase

import (
	"context"
	"errors"
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/awsanswer"
)

// verdict is what an error of the SDK means.
type verdict struct {
	kind    failure.Kind
	hint    string
	message string
	cause   error
	again   bool // sending the same request again is safe and may help
	outcome outcome
}

// fault is the error that the caller gets.
func (v verdict) fault(where string) error {
	return &failure.Error{Subject: where, Kind: v.kind, Message: v.message, Hint: strings.ReplaceAll(v.hint, hereIs, where), Cause: v.cause}
}

// hereIs stands for the region in hints.
const hereIs = "REGION"

const (
	hintCredentials = "see whether AWS takes the site's credentials at all: aws sts get-caller-identity; the key may be wrong or deleted, or the region not switched on: aws account get-region-opt-status --region-name " + hereIs
	hintRegion      = "switch the region on for the account: aws account enable-region --region-name " + hereIs + "; that takes minutes, and then its STS has to be active too (IAM console, Account settings)"
	hintAssume      = "the policy of who assumes the role must allow sts:AssumeRole (`lifeboat aws policy` prints it), and the role's trust policy must name them, with the external_id that the site gives: aws iam get-role --role-name NAME"
	hintExpired     = "the credentials have expired: get new ones (with single sign-on: aws sso login), and see that AWS takes them: aws sts get-caller-identity. A process that has them from its environment is to be started again: lifeboat run resume last"
	hintClock       = "this machine's clock differs too much from AWS's: set it (timedatectl set-ntp true)"
	hintQuota       = "ask AWS for a higher quota in this region, or remove what is not needed; `lifeboat doctor` looks at quotas ahead of time"
	hintCapacity    = "AWS has no such machines there now: try again, another class, or more availability zones in the subnet group"
	hintState       = "it is busy with something else, or not in the state for this; look at its status"
	hintKey         = "the key must exist and be enabled in this region, and its policy must let these credentials use it"
	hintLook        = "it may have taken effect: look before trying again"
	hintSlow        = "AWS asks to slow down; it is tried again more slowly"
	hintReach       = "the region or the way to it may be down"
)

// codes are error codes whose form does not say what they mean; the others go by form, see byForm. Sources: the error tables of
// the services' API references, and the SDK's models.
var codes = map[string]verdict{
	"Throttling":                          {kind: failure.Throttled, hint: hintSlow},
	"ThrottlingException":                 {kind: failure.Throttled, hint: hintSlow},
	"ThrottledException":                  {kind: failure.Throttled, hint: hintSlow},
	"RequestThrottled":                    {kind: failure.Throttled, hint: hintSlow},
	"RequestThrottledException":           {kind: failure.Throttled, hint: hintSlow},
	"RequestLimitExceeded":                {kind: failure.Throttled, hint: hintSlow},
	"TooManyRequestsException":            {kind: failure.Throttled, hint: hintSlow},
	"TooManyUpdates":                      {kind: failure.Throttled, hint: hintSlow},
	"EC2ThrottledException":               {kind: failure.Throttled, hint: hintSlow},
	"SlowDown":                            {kind: failure.Throttled, hint: hintSlow},
	"PriorRequestNotComplete":             {kind: failure.Throttled, hint: hintSlow},
	"AccessDenied":                        {kind: failure.Denied},
	"AccessDeniedException":               {kind: failure.Denied},
	"UnauthorizedOperation":               {kind: failure.Denied},
	"NotAuthorized":                       {kind: failure.Denied},
	"AuthFailure":                         {kind: failure.Denied, hint: hintCredentials},
	"InvalidClientTokenId":                {kind: failure.Denied, hint: hintCredentials},
	"UnrecognizedClientException":         {kind: failure.Denied, hint: hintCredentials},
	"SignatureDoesNotMatch":               {kind: failure.Denied, hint: hintCredentials},
	"IncompleteSignature":                 {kind: failure.Denied, hint: hintCredentials},
	"MissingAuthenticationToken":          {kind: failure.Denied, hint: hintCredentials},
	"OptInRequired":                       {kind: failure.Denied, hint: hintRegion},
	"RegionDisabledException":             {kind: failure.Denied, hint: hintRegion},
	"ExpiredToken":                        {kind: failure.Denied, hint: hintExpired},
	"ExpiredTokenException":               {kind: failure.Denied, hint: hintExpired},
	"RequestExpired":                      {kind: failure.Denied, hint: hintClock},
	"RequestTimeTooSkewed":                {kind: failure.Denied, hint: hintClock},
	"InvalidSignatureException":           {kind: failure.Denied, hint: hintCredentials},
	"KMSKeyNotAccessibleFault":            {kind: failure.Denied, hint: hintKey},
	"InvalidKMSKeyFault":                  {kind: failure.Denied, hint: hintKey},
	"InvalidVPCNetworkStateFault":         {kind: failure.Invalid, hint: "the subnet group does not fit its network any more"},
	"IamRoleMissingPermissions":           {kind: failure.Denied},
	"SNSNoAuthorization":                  {kind: failure.Denied},
	"InvalidKMSKeyId":                     {kind: failure.Denied, hint: hintKey},
	"InstanceQuotaExceeded":               {kind: failure.Denied, hint: hintQuota},
	"InvalidAction":                       {kind: failure.Unsupported},
	"UnknownOperation":                    {kind: failure.Unsupported},
	"UnknownOperationException":           {kind: failure.Unsupported},
	"UnsupportedOperation":                {kind: failure.Unsupported},
	"DBInstanceNotReady":                  {kind: failure.Conflict, hint: hintState},
	"ConcurrentModification":              {kind: failure.Conflict, hint: hintState},
	"ConflictingDomainExists":             {kind: failure.Exists},
	"HostedZoneNotEmpty":                  {kind: failure.Conflict, hint: hintState},
	"DependencyViolation":                 {kind: failure.Conflict, hint: "something else still uses it"},
	"DeleteConflict":                      {kind: failure.Conflict, hint: hintState},
	"APICallRateForCustomerExceeded":      {kind: failure.Throttled, hint: hintSlow},
	"APICallRateForCustomerExceededFault": {kind: failure.Throttled, hint: hintSlow},
	"InvalidChangeBatch":                  {kind: failure.Invalid, hint: "the records are not as this change expects them: look at them with `aws route53 list-resource-record-sets`"},
	"DBSubnetGroupDoesNotCoverEnoughAZs":  {kind: failure.Invalid, hint: "the subnet group needs subnets in more availability zones"},
	"InternalFailure":                     {kind: failure.Unavailable, outcome: unanswered, hint: hintReach},
	"InternalError":                       {kind: failure.Unavailable, outcome: unanswered, hint: hintReach},
	"ServiceUnavailable":                  {kind: failure.Unavailable, outcome: unanswered, hint: hintReach},
	"ServiceUnavailableException":         {kind: failure.Unavailable, outcome: unanswered, hint: hintReach},
	"Unavailable":                         {kind: failure.Unavailable, outcome: unanswered, hint: hintReach},
}

// forms are what codes end with or hold, in the order in which they are asked, once "Fault" and "Exception" are cut off.
var forms = []struct {
	form *regexp.Regexp
	is   verdict
}{
	{regexp.MustCompile(`NotFound$|^NoSuch|DoesNotExist|\.Unknown$`), verdict{kind: failure.NotFound}},
	{regexp.MustCompile(`AlreadyExist|\.Duplicate$|^Duplicate|AlreadyOwned|EntityAlreadyExists`), verdict{kind: failure.Exists}},
	{regexp.MustCompile(`^Insufficient.*(Capacity|AvailableIPs)|InsufficientAvailableIPs`), verdict{kind: failure.Unavailable, hint: hintCapacity}},
	{regexp.MustCompile(`Quota.*Exceeded|Limits?Exceeded|LimitReached|^TooMany|^QuotaFor|QuotaForCustomerExceeded`), verdict{kind: failure.Denied, hint: hintQuota}},
	{regexp.MustCompile(`^Invalid.*State|State.*Invalid|IncorrectState|InUse$|InProgress|VersionMismatch$|AlreadyUnder|ConflictOperation`), verdict{kind: failure.Conflict, hint: hintState}},
	{regexp.MustCompile(`NotSupported|Unsupported`), verdict{kind: failure.Unsupported}},
	{regexp.MustCompile(`^Invalid|^Missing|^Malformed|Validation|NotAllowed|Violation|Mismatch|Incompatible|NotApplicable|Invalid$|Required$`), verdict{kind: failure.Invalid}},
}

// byForm finds what a code means by its form.
func byForm(code string) (verdict, bool) {
	bare := strings.TrimSuffix(strings.TrimSuffix(code, "Exception"), "Fault")
	for _, f := range forms {
		if f.form.MatchString(bare) {
			return f.is, true
		}
	}
	return verdict{}, false
}

// judge says what an error means for an operation. It and unanswered calls' errors below are the only places that look at
// errors of the SDK.
func judge(err error, service, operation string) verdict {
	var classified *failure.Error
	if errors.As(err, &classified) {
		return verdict{kind: classified.Kind, hint: failure.HintOf(err), cause: awsanswer.Unwrapped(err), outcome: outcomeOf(classified.Kind)}
	}
	said := awsanswer.Of(err)
	code, status := said.Code, said.Status
	if status == 0 || status/100 == 2 { // an answer that says yes and is an error all the same broke off
		return lost(err, operation)
	}
	v, known := codes[code]
	if !known {
		v, known = byForm(code)
	}
	switch {
	case !known && status == http.StatusTooManyRequests:
		v = verdict{kind: failure.Throttled, hint: hintSlow}
	case status >= 500 && (!known || v.kind == failure.Unavailable):
		v = verdict{kind: failure.Unavailable, outcome: unanswered, hint: hintReach}
	case !known && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		v = verdict{kind: failure.Denied, hint: hintCredentials}
	case !known && status == http.StatusNotFound:
		v = verdict{kind: failure.NotFound}
	case !known:
		v = verdict{kind: failure.Invalid}
	}
	if v.kind == failure.Denied && v.hint == "" && operation == "AssumeRole" {
		v.hint = hintAssume // AWS does not say which of these it is
	}
	if v.kind == failure.Denied && v.hint == "" {
		v.hint = "allow " + refused(said.Message, service, operation) + " in the policy of these credentials; `lifeboat aws policy` prints what is needed"
	}
	v.again = v.kind == failure.Throttled || v.outcome == unanswered && !changes(operation)
	if v.outcome == unanswered && changes(operation) {
		v.kind, v.hint = failure.Indeterminate, hintLook
	}
	v.message = said.String()
	if said.Request != "" {
		v.message += " (request " + said.Request + ")"
	}
	return v
}

// lost is for a request that got no answer, or one that cannot be read.
func lost(err error, operation string) verdict {
	v := verdict{kind: failure.Unavailable, hint: hintReach, cause: awsanswer.Unwrapped(err), outcome: unanswered, again: !changes(operation)}
	var dial *net.OpError
	var lookup *net.DNSError
	var invalid *smithy.InvalidParamsError
	var slow *noAnswer
	switch {
	case errors.As(err, &invalid):
		return verdict{kind: failure.Invalid, cause: awsanswer.Unwrapped(err), outcome: unknown}
	case errors.Is(err, context.Canceled):
		return verdict{kind: failure.Canceled, cause: err, outcome: unknown}
	case errors.As(err, &lookup), errors.As(err, &dial) && dial.Op == "dial":
		return v // nothing was sent
	case errors.As(err, &slow):
		v.cause = slow
	}
	if changes(operation) {
		v.kind, v.hint = failure.Indeterminate, hintLook
	}
	return v
}

// outcomeOf is for errors that have a kind already: those of getting credentials, and our own.
func outcomeOf(k failure.Kind) outcome {
	if k == failure.Unavailable || k == failure.Indeterminate {
		return unanswered
	}
	return unknown
}

// authorized finds the action in what AWS says of a refused call: "User: … is not authorized to perform: rds:CopyDBSnapshot on …".
var authorized = regexp.MustCompile(`not authorized to perform:? ([a-z0-9-]+:[A-Za-z0-9]+)`)

// refused is the action that was denied, as policies name it.
func refused(message, service, operation string) string {
	if found := authorized.FindStringSubmatch(message); found != nil {
		return found[1]
	}
	return service + ":" + operation
}

// Busy reports whether an error says that the same call will do later: the thing is in another state, or somebody else was first
// to make it, so that it is looked at instead.
func Busy(err error) bool {
	k := failure.KindOf(err)
	return k == failure.Conflict || k == failure.Exists
}
