package guard_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"coffer/app/domain"
	"coffer/tenants/guard"
)

// When a new SQLite brings new functions, PRAGMAs or modules these tests fail,
// so that somebody decides about each.

// names asks the build for a list.
func names(t *testing.T, sql string) []string {
	t.Helper()
	var out []string
	for _, row := range mustRun(t, open(t, newFile(t), guard.Trusted, guard.Limits{}), sql).Rows {
		out = append(out, row[0].Raw())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestFunctionsOfTheBuild(t *testing.T) {
	g := open(t, newFile(t), guard.Reader, guard.Limits{})
	var forbidden []string
	for _, name := range names(t, `SELECT name FROM pragma_function_list`) {
		sql := fmt.Sprintf(`SELECT "%s"()`, name)
		for n := 1; n <= 8; n++ { // with the number of arguments that it has
			_, err := run(g, sql)
			if err == nil || !strings.Contains(err.Error(), "wrong number of arguments") {
				if domain.KindOf(err) == domain.Denied && err != nil {
					forbidden = append(forbidden, name)
				}
				break
			}
			sql = fmt.Sprintf(`SELECT "%s"(%s)`, name, strings.TrimSuffix(strings.Repeat("1,", n), ","))
		}
	}
	want := strings.Fields(`fts5 fts5_source_id geopoly_area geopoly_bbox geopoly_blob geopoly_ccw geopoly_contains_point
		geopoly_debug geopoly_group_bbox geopoly_json geopoly_overlap geopoly_regular geopoly_svg geopoly_within geopoly_xform
		json_patch jsonb_patch load_extension rtreecheck rtreedepth rtreenode
		sqlite_compileoption_get sqlite_compileoption_used sqlite_log sqlite_offset sqlite_source_id`)
	if diff := cmp.Diff(want, forbidden); diff != "" {
		t.Error(diff)
	}
}

func TestPragmasOfTheBuild(t *testing.T) {
	all := names(t, `SELECT name FROM pragma_pragma_list`)
	for role, want := range map[guard.Role]string{
		guard.Reader: `application_id collation_list data_version defer_foreign_keys encoding foreign_keys freelist_count
			function_list journal_mode max_page_count page_count page_size schema_version table_list user_version`,
		guard.Writer: `application_id collation_list data_version defer_foreign_keys encoding foreign_key_check foreign_keys
			freelist_count function_list integrity_check journal_mode max_page_count page_count page_size quick_check
			schema_version table_list user_version`,
	} {
		g := open(t, newFile(t), role, guard.Limits{})
		var allowed []string
		for _, name := range all {
			if _, err := run(g, `PRAGMA `+name); err == nil {
				allowed = append(allowed, name)
			}
		}
		if diff := cmp.Diff(strings.Fields(want), allowed); diff != "" {
			t.Errorf("%v, asking: %s", role, diff)
		}
	}
	for role, want := range map[guard.Role]string{
		guard.Reader: `foreign_key_list index_info index_list index_xinfo table_info table_list table_xinfo`,
		guard.Writer: `defer_foreign_keys foreign_key_check foreign_key_list foreign_keys index_info index_list index_xinfo
			integrity_check quick_check table_info table_list table_xinfo user_version`,
	} {
		g := open(t, newFile(t), role, guard.Limits{})
		var allowed []string
		for _, name := range all {
			if _, err := run(g, `PRAGMA `+name+` = 1`); domain.KindOf(err) != domain.Denied || err == nil {
				allowed = append(allowed, name)
			}
		}
		if diff := cmp.Diff(strings.Fields(want), allowed); diff != "" {
			t.Errorf("%v, with an argument: %s", role, diff)
		}
	}
}

func TestModulesOfTheBuild(t *testing.T) {
	all := names(t, `SELECT name FROM pragma_module_list WHERE name NOT LIKE 'pragma%'`)
	want := strings.Fields(`dbstat fts5 fts5vocab geopoly rtree rtree_i32 sqlite_dbpage`)
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	g := open(t, newFile(t), guard.Writer, guard.Limits{})
	for i, module := range all {
		if module == "fts5" {
			continue
		}
		refused(t, g, fmt.Sprintf(`CREATE VIRTUAL TABLE t%d USING %s(a, b, c)`, i, module), domain.Denied)
		if _, err := run(g, `SELECT * FROM `+module); err == nil {
			t.Errorf("%s is read", module)
		}
	}
}

func TestOnlyReads(t *testing.T) {
	for sql, want := range map[string]bool{
		`SELECT 1`: true, `/* x */ values (1)`: true, `WITH a AS (SELECT 1) SELECT * FROM a`: true, `EXPLAIN DELETE FROM t`: false,
		`PRAGMA table_info(t)`: true, `PRAGMA user_version = 1`: false, `WITH a(x) AS (SELECT 1) DELETE FROM t`: false,
		`WITH replace AS (SELECT 1), "update" AS (SELECT 2) SELECT 1`: true, `INSERT INTO t SELECT 1`: false, `BEGIN`: false, ``: false, `'SELECT'`: false,
		`;;SELECT 1`: true, "\xef\xbb\xbfSELECT 1": true, `REPLACE INTO t VALUES (1)`: false,
	} {
		if got := guard.OnlyReads(sql); got != want {
			t.Errorf("%q: %v", sql, got)
		}
	}
}
