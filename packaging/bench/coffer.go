package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// coffer is a running Coffer, asked over TLS with a token of each tenant's that
// lives for an hour. Its audit log is on; it cannot be switched off.
type coffer struct {
	n      size
	data   string
	cmd    *exec.Cmd
	url    string
	tokens []string
	local  *http.Client // the socket, over which the operator makes tenants
	kept   *http.Client
	anew   *http.Client
}

func startCoffer(ctx context.Context, n size, binary, data string) (*coffer, error) {
	c := &coffer{n: n, data: data, tokens: make([]string, n.tenants)}
	c.cmd = exec.Command(binary, "serve", "--data", data, "--seal", "keyfile", "--listen", "127.0.0.1:0")
	var errs bytes.Buffer
	c.cmd.Stderr = &errs
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "version:") {
		if url, ok := strings.CutPrefix(lines.Text(), "url: "); ok {
			c.url = strings.TrimSuffix(strings.TrimSpace(url), "/")
		}
	}
	if c.url == "" {
		return nil, fmt.Errorf("%w: %s", c.Close(), &errs)
	}
	pem, err := os.ReadFile(filepath.Join(data, "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	c.kept = &http.Client{Transport: &http.Transport{TLSClientConfig: config, MaxConnsPerHost: n.connections, MaxIdleConnsPerHost: n.connections}}
	c.anew = &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	c.local = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(data, "run", "coffer.sock"))
	}}}
	return c, nil
}

func (c *coffer) Name() string { return "Coffer" }

func (c *coffer) Create(ctx context.Context, tenant int) error {
	id := tenantID(tenant)
	if err := c.operate(ctx, "/api/v1/tenants", map[string]string{"id": id, "name": id}, nil); err != nil {
		return err
	}
	return c.operate(ctx, "/api/v1/tenants/"+id+"/sql", map[string]string{"sql": "CREATE TABLE items(id INTEGER PRIMARY KEY, v TEXT NOT NULL)"}, nil)
}

func (c *coffer) Fill(ctx context.Context, tenant int) error {
	return c.operate(ctx, "/api/v1/tenants/"+tenantID(tenant)+"/sql", map[string]any{
		"sql":  "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?) INSERT INTO items SELECT n, ? || ' row ' || n || ' ' || ? FROM c",
		"args": []any{c.n.rows, tenantID(tenant), rest},
	}, nil)
}

func (c *coffer) Ready(ctx context.Context) error {
	for tenant := range c.tokens {
		var out struct {
			Token string `json:"token"`
		}
		if err := c.operate(ctx, "/api/v1/tenants/"+tenantID(tenant)+"/tokens", map[string]string{"role": "admin", "ttl": "1h"}, &out); err != nil {
			return err
		}
		c.tokens[tenant] = out.Token
	}
	return nil
}

// operate asks over the local socket.
func (c *coffer) operate(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := ask(ctx, c.local, "http://local"+path, "", body)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

func (c *coffer) Nothing(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/healthz", nil)
	if err != nil {
		return err
	}
	_, err = send(c.kept, req)
	return err
}

func (c *coffer) Read(ctx context.Context, tenant int, id int64) error {
	return c.read(ctx, c.kept, tenant, id)
}

func (c *coffer) ReadAnew(ctx context.Context, tenant int, id int64) error {
	return c.read(ctx, c.anew, tenant, id)
}

func (c *coffer) read(ctx context.Context, client *http.Client, tenant int, id int64) error {
	out, err := c.pipeline(ctx, client, tenant, map[string]any{"type": "execute", "stmt": statement("SELECT v FROM items WHERE id = ?", id)})
	if err != nil {
		return err
	}
	rows := out.Results[0].Response.Result.Rows
	if len(rows) != 1 || len(rows[0]) != 1 {
		return fmt.Errorf("%d rows", len(rows))
	}
	return check(rows[0][0].Value, tenant, id)
}

func (c *coffer) Insert(ctx context.Context, tenant int, id int64) error {
	_, err := c.pipeline(ctx, c.kept, tenant, map[string]any{"type": "execute", "stmt": statement(insert, id, value(tenant, id))})
	return err
}

const insert = "INSERT INTO items(id, v) VALUES (?, ?)"

// Batch is what the client for JavaScript sends for a batch: each step if the one
// before it went well.
func (c *coffer) Batch(ctx context.Context, tenant int, id int64, rows int) error {
	steps := []map[string]any{{"stmt": map[string]any{"sql": "BEGIN IMMEDIATE"}}}
	then := func(stmt map[string]any) {
		steps = append(steps, map[string]any{"stmt": stmt, "condition": map[string]any{"type": "ok", "step": len(steps) - 1}})
	}
	for i := range int64(rows) {
		stmt := statement("", id+i, value(tenant, id+i))
		delete(stmt, "sql")
		stmt["sql_id"] = 1
		then(stmt)
	}
	then(map[string]any{"sql": "COMMIT"})
	out, err := c.pipeline(ctx, c.kept, tenant, map[string]any{"type": "store_sql", "sql_id": 1, "sql": insert},
		map[string]any{"type": "batch", "batch": map[string]any{"steps": steps}})
	if err != nil {
		return err
	}
	for _, failed := range out.Results[1].Response.Result.StepErrors {
		if failed != nil {
			return fmt.Errorf("a step failed: %s", failed.Message)
		}
	}
	return nil
}

// statement is a statement of the protocol.
func statement(sql string, args ...any) map[string]any {
	var values []map[string]any
	for _, arg := range args {
		switch arg := arg.(type) {
		case int64:
			values = append(values, map[string]any{"type": "integer", "value": strconv.FormatInt(arg, 10)})
		case string:
			values = append(values, map[string]any{"type": "text", "value": arg})
		}
	}
	return map[string]any{"sql": sql, "args": values}
}

type pipelineAnswer struct {
	Results []struct {
		Type     string   `json:"type"`
		Error    *problem `json:"error"`
		Response struct {
			Result struct {
				Rows [][]struct {
					Value string `json:"value"`
				} `json:"rows"`
				StepErrors []*problem `json:"step_errors"`
			} `json:"result"`
		} `json:"response"`
	} `json:"results"`
}

type problem struct {
	Message string `json:"message"`
}

// pipeline asks in the protocol of libSQL, and closes the stream as its clients do.
func (c *coffer) pipeline(ctx context.Context, client *http.Client, tenant int, requests ...map[string]any) (out pipelineAnswer, err error) {
	requests = append(requests, map[string]any{"type": "close"})
	body, err := json.Marshal(map[string]any{"requests": requests})
	if err != nil {
		return out, err
	}
	answer, err := ask(ctx, client, c.url+"/t/"+tenantID(tenant)+"/db/v2/pipeline", c.tokens[tenant], body)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return out, err
	}
	for _, r := range out.Results {
		if r.Error != nil {
			return out, fmt.Errorf("refused: %s", r.Error.Message)
		}
	}
	if len(out.Results) != len(requests) {
		return out, fmt.Errorf("%d results of %d", len(out.Results), len(requests))
	}
	return out, nil
}

func ask(ctx context.Context, client *http.Client, url, token string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return send(client, req)
}

func send(client *http.Client, req *http.Request) ([]byte, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return answer, err
}

func (c *coffer) Processes() ([]int, error) { return withChildren(c.cmd.Process.Pid) }

func (c *coffer) Data() (dir, log string) { return c.data, filepath.Join(c.data, "audit") }

func (c *coffer) Close() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // Wait says how it ended
	return c.cmd.Wait()
}
