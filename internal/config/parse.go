package config

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/scanner"
	"github.com/goccy/go-yaml/token"
)

// What a file may hold. A person's lifeboat.yaml stays far below; beyond, parsing would cost more than a tool that is
// needed in an emergency may cost: the YAML library recurses by nesting and by the keys of a mapping, keeps each
// value's path, and an alias can stand for a structure of any size.
const (
	maxFile     = 4 << 20  // bytes
	maxTokens   = 100_000  // of YAML's grammar, about five to a line
	maxDepth    = 64       // of nesting, aliases written out
	maxKeys     = 5_000    // in one mapping
	maxKey      = 256      // characters in one key
	maxPaths    = 64 << 20 // bytes of all values' paths together
	maxExpanded = 16 << 20 // bytes of the file with all its aliases written out, about
)

// parse turns the file's text into nodes. What is wrong goes to p; the node is nil when nothing could be made of it.
func parse(content []byte, p *problems) *node {
	content, ok := checkText(content, p)
	if !ok {
		return nil
	}
	tokens, ok := tokenize(string(content), p)
	if !ok {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		addSyntax(p, err)
		return nil
	}
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.DirectiveType {
			continue
		}
		if root != nil {
			p.add(start(doc.Body), "keep one document, and remove the line ---",
				"the file holds more than one YAML document")
			return nil
		}
		root = doc.Body
	}
	if root == nil {
		p.add(pos{1, 1}, "lifeboat init writes a commented example", "the file is empty")
		return nil
	}
	b := builder{p: p, anchors: map[string]*node{}}
	n := b.node(root, start(root))
	if b.gaveUp {
		return nil
	}
	if n.kind != mapping {
		p.add(n.at, "lifeboat init writes a commented example", "the file must be a mapping of fields, not %s", n.kind)
		return nil
	}
	return n
}

// start is where a value begins: the library puts a block mapping at its first colon.
func start(y ast.Node) pos {
	if m, ok := y.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return position(m.Values[0].Key.GetToken())
	}
	return position(y.GetToken())
}

// checkText refuses what is no text before the YAML library sees it, and cuts a byte order mark.
func checkText(content []byte, p *problems) ([]byte, bool) {
	if len(content) > maxFile {
		p.add(pos{}, "lifeboat.yaml is meant to be written by hand; move generated parts out",
			"the file is larger than %d MiB", maxFile>>20)
		return nil, false
	}
	if len(content) >= 2 && (content[0] == 0xff && content[1] == 0xfe || content[0] == 0xfe && content[1] == 0xff) {
		p.add(pos{}, "save it as UTF-8", "the file is UTF-16")
		return nil, false
	}
	if rest, found := strings.CutPrefix(string(content), "\ufeff"); found {
		content = []byte(rest)
		p.lines[0] = strings.TrimPrefix(p.lines[0], "\ufeff")
	}
	at := pos{1, 1}
	for i := 0; i < len(content); {
		r, size := utf8.DecodeRune(content[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			p.add(at, "save the file as UTF-8", "byte 0x%02x is not UTF-8", content[i])
			return nil, false
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f, r == '\u2028', r == '\u2029', r == '\u0085', r == '\ufeff':
			p.add(at, "remove it; in a quoted text it can be written as an escape", "control character U+%04X", r)
			return nil, false
		}
		at.col++
		if r == '\n' || r == '\r' && (i+1 == len(content) || content[i+1] != '\n') {
			at = pos{at.line + 1, 1}
		}
		i += size
	}
	return content, true
}

// tokenize splits the text and holds it to the limits.
func tokenize(src string, p *problems) (token.Tokens, bool) {
	var s scanner.Scanner
	s.Init(src)
	var tokens token.Tokens
	for {
		next, err := s.Scan()
		if errors.Is(err, io.EOF) {
			break
		}
		tokens.Add(next...)
		if len(tokens) > maxTokens {
			p.add(position(tokens[maxTokens]), "lifeboat.yaml is meant to be written by hand; move generated parts out",
				"the file holds more than %d values", maxTokens/2)
			return nil, false
		}
		if err != nil {
			break // the parser reports the invalid token
		}
	}
	var o outline
	for _, t := range tokens {
		if problem := o.next(t); problem != "" {
			p.add(position(t), "", "%s", problem)
			return nil, false
		}
	}
	return tokens, true
}

// outline follows the nesting of a file from its tokens alone.
type outline struct {
	open  []level
	path  int // length of the path to the innermost level
	paths int // of all paths so far
}

type level struct {
	flow bool
	col  int // of a block's keys or dashes
	keys int
	path int
}

// next takes one token and names the limit that it breaks, if any.
func (o *outline) next(t *token.Token) string {
	switch t.Type {
	case token.MappingStartType, token.SequenceStartType:
		o.push(level{flow: true})
	case token.MappingEndType, token.SequenceEndType:
		for len(o.open) > 0 && !o.open[len(o.open)-1].flow {
			o.pop()
		}
		o.pop()
	case token.SequenceEntryType:
		o.block(t.Position.Column)
		o.entry(4)
	case token.MappingKeyType:
		return "explicit keys (?) are not supported here"
	case token.MappingValueType:
		key := t.Prev
		col, width := t.Position.Column, 0
		if key != nil {
			width = len(key.Value)
			if key.Position.Line == t.Position.Line {
				col = key.Position.Column
			}
		}
		if width > maxKey {
			return fmt.Sprintf("a key is longer than %d characters", maxKey)
		}
		o.block(col)
		o.entry(width + 1)
	}
	switch {
	case len(o.open) > maxDepth:
		return fmt.Sprintf("values are nested deeper than %d", maxDepth)
	case len(o.open) > 0 && o.open[len(o.open)-1].keys > maxKeys:
		return fmt.Sprintf("more than %d entries in one place", maxKeys)
	case o.paths > maxPaths:
		return "too many values are nested too deeply"
	}
	return ""
}

// block notes an entry of a block structure at a column.
func (o *outline) block(col int) {
	for len(o.open) > 0 {
		top := o.open[len(o.open)-1]
		if top.flow || top.col == col {
			return
		}
		if top.col < col {
			break
		}
		o.pop()
	}
	o.push(level{col: col})
}

// entry notes one more entry, whose path is longer than its parent's by width.
func (o *outline) entry(width int) {
	if len(o.open) == 0 {
		return
	}
	top := &o.open[len(o.open)-1]
	top.keys++
	o.path += width - top.path
	top.path = width
	o.paths += o.path
}

func (o *outline) push(l level) { o.open = append(o.open, l) }

func (o *outline) pop() {
	if len(o.open) > 0 {
		o.path -= o.open[len(o.open)-1].path
		o.open = o.open[:len(o.open)-1]
	}
}

func position(t *token.Token) pos {
	if t == nil || t.Position == nil {
		return pos{}
	}
	return pos{t.Position.Line, t.Position.Column}
}

// addSyntax reports what the YAML library could not parse, with the usual reasons as hints.
func addSyntax(p *problems, err error) {
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		p.add(pos{1, 1}, "", "not YAML: %v", err)
		return
	}
	at, message := position(syntax.GetToken()), syntax.GetMessage()
	hint := ""
	switch {
	case strings.Contains(message, "found character '\t'"):
		message, hint = "a tab is used for indentation", "YAML is indented with spaces"
	case strings.Contains(message, "mapping value is not allowed"):
		hint = `a text with ": " in it needs quotes; or a line is indented too far`
	case strings.Contains(message, "reserved character"):
		hint = "put the text in quotes"
	case strings.Contains(message, "unexpected directive value"):
		message, hint = "a text cannot begin with %", "put the text in quotes"
	case strings.Contains(message, "could not find end character"):
		hint = "close the quote, or remove it"
	case strings.Contains(message, "is not allowed in this context"), strings.Contains(message, "non-map value"):
		hint = "is the line indented like its neighbours?"
	}
	p.add(at, hint, "not YAML: %s", message)
}

// builder makes nodes of the YAML library's tree.
type builder struct {
	p       *problems
	anchors map[string]*node
	merged  int
	gaveUp  bool
}

// node makes one node; it never gives nil. A problem leaves a null in its place.
func (b *builder) node(y ast.Node, head pos) *node {
	if b.gaveUp || y == nil {
		return &node{at: head, head: head, size: 16}
	}
	n := b.build(y, head)
	n.size += 16 + len(n.text)
	for _, item := range n.items {
		n.size += item.size
		n.depth = max(n.depth, 1+item.depth)
	}
	for _, f := range n.fields {
		n.size += 8 + len(f.key) + f.value.size
		n.depth = max(n.depth, 1+f.value.depth)
	}
	if n.size > maxExpanded || n.depth > maxDepth {
		b.giveUp(n.at)
	}
	return n
}

func (b *builder) giveUp(at pos) {
	if !b.gaveUp {
		b.gaveUp = true
		b.p.add(at, "write it without so many aliases (*name)", "aliases blow the file up to more than %d MiB or nest it "+
			"deeper than %d", maxExpanded>>20, maxDepth)
	}
}

func (b *builder) build(y ast.Node, head pos) *node {
	at := start(y)
	n := &node{at: at, head: head}
	switch y := y.(type) {
	case *ast.NullNode:
	case *ast.BoolNode:
		n.kind, n.text = boolean, strconv.FormatBool(y.Value)
	case *ast.IntegerNode:
		b.integer(n, y)
	case *ast.FloatNode:
		n.kind, n.text = number, strconv.FormatFloat(y.Value, 'f', -1, 64)
	case *ast.InfinityNode, *ast.NanNode:
		n.kind = broken
		b.p.add(at, "", "%s is not a number that can be used here", y.GetToken().Value)
	case *ast.StringNode:
		n.kind, n.text = text, y.Value
	case *ast.LiteralNode:
		n.kind = text
		if y.Value != nil {
			n.text = y.Value.Value
		}
	case *ast.MappingNode:
		b.mapping(n, y.Values)
	case *ast.MappingValueNode:
		b.mapping(n, []*ast.MappingValueNode{y})
	case *ast.SequenceNode:
		n.kind = list
		for _, v := range y.Values {
			n.items = append(n.items, b.node(v, start(v)))
		}
	case *ast.AnchorNode:
		value := b.node(y.Value, head)
		b.anchors[y.Name.GetToken().Value] = value
		return share(value)
	case *ast.AliasNode:
		return b.alias(y, head)
	case *ast.TagNode:
		return b.tag(y, head)
	default:
		n.kind = broken
		b.p.add(at, "", "%s cannot be used here", strings.ToLower(y.Type().YAMLName()))
	}
	return n
}

// share gives a node of the same content, whose size node() is about to add up again.
func share(n *node) *node {
	c := *n
	c.size, c.depth = 0, 0
	return &c
}

func (b *builder) integer(n *node, y *ast.IntegerNode) {
	literal := y.GetToken().Value
	digits := strings.TrimLeft(literal, "+-")
	if len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		b.p.add(n.at, `write 0o`+strings.TrimLeft(digits, "0")+" for octal, or quote it to make it text",
			"a number with a leading zero can be read as octal or as decimal")
		n.kind = broken
		return
	}
	n.kind, n.text = number, fmt.Sprint(y.Value)
}

func (b *builder) alias(y *ast.AliasNode, head pos) *node {
	name := ""
	if y.Value != nil {
		name = y.Value.GetToken().Value
	}
	value, ok := b.anchors[name]
	if !ok {
		var known []string
		for k := range b.anchors {
			known = append(known, k)
		}
		slices.Sort(known)
		b.p.add(position(y.GetToken()), didYouMean(name, known), "no earlier anchor is called %s", quote(name))
		return &node{kind: broken, at: position(y.GetToken()), head: head}
	}
	return share(value)
}

// tag accepts the tags of YAML's own types where they fit, and !!str to make text of any scalar.
func (b *builder) tag(y *ast.TagNode, head pos) *node {
	at, name := position(y.GetToken()), y.GetToken().Value
	n := share(b.node(y.Value, head))
	want, known := map[string]nodeKind{"!!null": null, "!!bool": boolean, "!!int": number, "!!float": number,
		"!!str": text, "!!seq": list, "!!map": mapping}[name]
	switch {
	case n.kind == broken:
	case !known:
		b.p.add(at, "remove the tag", "the tag %s has no meaning here", quote(name))
		n.kind = broken
	case want == text && (n.kind == number || n.kind == boolean):
		n.kind, n.text = text, y.Value.GetToken().Value
	case want != n.kind:
		b.p.add(at, "remove the tag", "the tag %s does not fit %s", quote(name), n.kind)
		n.kind = broken
	}
	return n
}

// mapping fills in the fields: its own first, then those that it merges (<<) and does not have, earlier ones first.
func (b *builder) mapping(n *node, values []*ast.MappingValueNode) {
	n.kind = mapping
	seen := map[string]pos{}
	var merges []*node
	for _, v := range values {
		if v.Key.IsMergeKey() {
			merges = append(merges, b.node(v.Value, position(v.Key.GetToken())))
			continue
		}
		key, at, ok := b.key(v.Key)
		if !ok {
			continue
		}
		if first, dup := seen[key]; dup {
			b.p.add(at, "remove or rename one of the two", "%s stands here twice, first in line %d", quote(key), first.line)
			continue
		}
		seen[key] = at
		n.fields = append(n.fields, field{key, at, b.node(v.Value, at)})
	}
	for _, m := range merges {
		sources := []*node{m}
		if m.kind == list {
			sources = m.items
		}
		for _, source := range sources {
			if source.kind == broken {
				continue
			}
			if source.kind != mapping {
				b.p.add(source.at, "write <<: *name, where &name stands at a mapping", "only mappings can be merged, not %s",
					source.kind)
				continue
			}
			for _, f := range source.fields {
				if b.merged++; b.merged > maxTokens {
					b.giveUp(n.at)
					return
				}
				if _, have := seen[f.key]; !have {
					seen[f.key] = f.at
					n.fields = append(n.fields, f)
				}
			}
		}
	}
}

// key gives a key as text: keys that look like numbers or true and false are taken as they are written.
func (b *builder) key(k ast.MapKeyNode) (string, pos, bool) {
	var y ast.Node = k
	at := position(k.GetToken())
	for {
		switch inner := y.(type) {
		case *ast.AnchorNode:
			b.anchors[inner.Name.GetToken().Value] = b.node(inner.Value, at)
			y = inner.Value
			continue
		case *ast.TagNode:
			y = inner.Value
			continue
		case *ast.MappingKeyNode:
			y = inner.Value
			continue
		case *ast.AliasNode:
			n := b.alias(inner, at)
			return n.text, at, n.kind == text
		case *ast.StringNode:
			return inner.Value, at, true
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
			return y.GetToken().Value, at, true
		}
		b.p.add(at, "", "a key must be text")
		return "", at, false
	}
}
