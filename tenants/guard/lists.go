package guard

import "strings"

// set makes a set of the words of a text.
func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// allowedFunctions are the functions of SQLite that every role may call.
// Left out on purpose: load_extension, sqlite_log, sqlite_offset, fts5, what
// tells about the build, rtree and geopoly (their modules are not allowed
// either), and json_patch and jsonb_patch, which take quadratic time in one
// instruction. Those that can build something large are bounded by the limits
// on length and memory.
var allowedFunctions = set(`
	abs char coalesce concat concat_ws format glob hex if ifnull iif instr length like likelihood likely lower ltrim
	max min nullif octet_length printf quote random randomblob replace round rtrim sign soundex substr substring subtype
	trim typeof unhex unicode unistr unistr_quote unlikely upper zeroblob
	changes last_insert_rowid total_changes sqlite_version
	avg count group_concat string_agg sum total
	row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
	date time datetime julianday unixepoch strftime timediff current_date current_time current_timestamp
	acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log log10 log2 mod pi pow power
	radians sin sinh sqrt tan tanh trunc
	json jsonb json_array jsonb_array json_array_length json_error_position json_extract jsonb_extract -> ->>
	json_insert jsonb_insert json_array_insert jsonb_array_insert json_object jsonb_object json_pretty json_remove
	jsonb_remove json_replace jsonb_replace json_set jsonb_set json_type json_valid json_quote
	json_group_array jsonb_group_array json_group_object jsonb_group_object
	match bm25 highlight snippet fts5_locale fts5_get_locale fts5_insttoken
`)

// alterFunctions are what ALTER TABLE calls within itself. SQLite knows
// no such function in the SQL of anybody else.
var alterFunctions = set(`
	sqlite_rename_table sqlite_rename_column sqlite_rename_test sqlite_rename_quotefix sqlite_drop_column
`)

// forbiddenTables are virtual tables that are there without being created.
// Two prefixes, pragma_ and sqlite_, are judged apart.
var forbiddenTables = set(`
	bytecode carray completion dbstat fts3tokenize fts5vocab generate_series geopoly rtree rtree_i32 tables_used
`)

// allowedSystemTables are the tables of SQLite's own that are read like any
// other; sqlite_schema has a rule of its own.
var allowedSystemTables = set(`sqlite_sequence sqlite_stat1 sqlite_stat4`)

// allowedModules are what CREATE VIRTUAL TABLE may use.
var allowedModules = set(`fts5`)

// access says who may use a PRAGMA in one of its two forms.
type access int

const (
	nobody access = iota
	writers
	everybody
)

// allows reports whether a role is among them.
func (a access) allows(r Role) bool {
	return a == everybody || (a == writers && r == Writer)
}

// pragmas are the allowed ones: without an argument they ask; with one they
// either name what is asked about or set something.
var pragmas = map[string]struct{ ask, with access }{
	"table_info":         {nobody, everybody},
	"table_xinfo":        {nobody, everybody},
	"table_list":         {everybody, everybody},
	"index_list":         {nobody, everybody},
	"index_info":         {nobody, everybody},
	"index_xinfo":        {nobody, everybody},
	"foreign_key_list":   {nobody, everybody},
	"foreign_key_check":  {writers, writers},
	"integrity_check":    {writers, writers},
	"quick_check":        {writers, writers},
	"foreign_keys":       {everybody, writers},
	"defer_foreign_keys": {everybody, writers},
	"user_version":       {everybody, writers},
	"application_id":     {everybody, nobody},
	"schema_version":     {everybody, nobody},
	"data_version":       {everybody, nobody}, // FTS5 asks for it within itself
	"encoding":           {everybody, nobody},
	"journal_mode":       {everybody, nobody},
	"page_count":         {everybody, nobody},
	"page_size":          {everybody, nobody},
	"freelist_count":     {everybody, nobody},
	"max_page_count":     {everybody, nobody},
	"collation_list":     {everybody, nobody},
	"function_list":      {everybody, nobody},
}

// tablePragmas are the PRAGMAs allowed as tables, pragma_table_info('t') and
// so on. Reading one compiles the PRAGMA, which is judged then.
var tablePragmas = set(`
	pragma_table_info pragma_table_xinfo pragma_index_list pragma_index_info pragma_index_xinfo pragma_foreign_key_list
`)
