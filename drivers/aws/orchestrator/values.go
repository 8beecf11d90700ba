package orchestrator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/statepayload"
	"github.com/lifeboat-dr/lifeboat/model"
)

// values resolves what the document refers to: the values of each action's parameters, by its path.
func (r *resolver) values(ctx context.Context, doc *model.Payload) (map[string]map[string]string, error) {
	stored := map[string]*string{} // by name; nil: there is none
	var exports map[string]string
	out := map[string]map[string]string{}
	for _, layer := range doc.Layers {
		for _, a := range layer.Actions {
			out[a.Path] = map[string]string{}
			for _, p := range a.Parameters {
				value, found, err := p.Text, true, error(nil)
				switch p.From {
				case model.FromExport:
					if exports == nil {
						if exports, err = r.exports(ctx); err != nil {
							return nil, err
						}
					}
					if value, found = exports[p.Text]; !found {
						r.missingExport(p, exports)
					}
				case model.FromParameter:
					if _, asked := stored[p.Text]; !asked {
						if stored[p.Text], err = r.stored(ctx, p); err != nil {
							return nil, err
						}
					}
					if found = stored[p.Text] != nil; found {
						value = *stored[p.Text]
					}
				}
				if !found {
					continue
				}
				if p.From != model.FromDocument {
					r.remarks = append(r.remarks, statepayload.CheckValue(a, p, value)...)
				}
				out[a.Path][p.Name] = strings.TrimSpace(value)
			}
		}
	}
	return out, nil
}

// exports are all that stacks of the region export.
func (r *resolver) exports(ctx context.Context) (map[string]string, error) {
	client := cloudformation.NewFromConfig(r.session.Config("cloudformation"))
	out := map[string]string{}
	pages := cloudformation.NewListExportsPaginator(client, &cloudformation.ListExportsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failure.Wrap(err, "list the exports in", r.session.Name())
		}
		for _, e := range page.Exports {
			out[aws.ToString(e.Name)] = aws.ToString(e.Value)
		}
	}
	return out, nil
}

func (r *resolver) missingExport(p model.PayloadParameter, exports map[string]string) {
	fix := fmt.Sprintf("aws cloudformation list-exports --region %s", r.session.Region())
	if like := statepayload.Nearest(p.Text, slices.Collect(maps.Keys(exports))); like != "" {
		fix = fmt.Sprintf("did you mean %q? %s shows all", like, fix)
	}
	r.remarks = append(r.remarks, p.Remark(model.Block, "payload-export", fmt.Sprintf("no stack in %s exports %q", r.session.Region(), p.Text),
		"the framework sends null to AWS in its place", fix))
}

// stored reads a parameter of Systems Manager; nil when a remark says why it cannot be.
func (r *resolver) stored(ctx context.Context, p model.PayloadParameter) (*string, error) {
	client := ssm.NewFromConfig(r.session.Config("ssm"))
	got, err := client.GetParameter(ctx, &ssm.GetParameterInput{Name: &p.Text})
	if err != nil && (failure.KindOf(err) == failure.NotFound || failure.KindOf(err) == failure.Invalid) {
		r.remarks = append(r.remarks, p.Remark(model.Block, "payload-ssm", fmt.Sprintf("Systems Manager in %s has no parameter %q: %s", r.session.Region(), p.Text, failure.From(err).Message),
			"", fmt.Sprintf("aws ssm get-parameter --region %s --name %s", r.session.Region(), p.Text)))
		return nil, nil
	}
	if err != nil {
		return nil, failure.Wrap(err, "read the parameter", p.Text)
	}
	if got.Parameter.Type == types.ParameterTypeSecureString {
		r.remarks = append(r.remarks, p.Remark(model.Block, "payload-secret", fmt.Sprintf("the parameter %q is a SecureString", p.Text),
			"a plan is written down, and secrets are not", "keep what is no secret in a parameter of type String"))
		return nil, nil
	}
	return got.Parameter.Value, nil
}
