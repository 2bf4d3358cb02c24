//! What SQL Server's error numbers mean for delivery (*Database Engine events and errors*, `sys.messages`), one line each.

/// What becomes of an attempt that ended with an error of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A row is bad: the stable word and our sentence, since the server's own quotes values.
    Row(&'static str, &'static str),
    /// The table, the route or the rights are wrong; the remedy.
    Hold(&'static str),
    /// The environment; the connection lasts. What to look at, where there is something.
    Wait(&'static str),
    /// The environment, and the connection is gone or of no use.
    Lost(&'static str),
}

use Meaning::{Hold, Lost, Row, Wait};

const MAKE: &str = "create the table, or point the route to another one";
const COLUMN: &str = "add the column, or change the route's columns";
const GRANT: &str = "grant the right to the destination's user (`tidegate check` lists them)";
const COMPUTED: &str = "leave the column out of the route; the database computes it";
const TYPES: &str = "the column's type has changed, or no text can be turned into it: change the column or the route";
const VIEW: &str = "this view can't be written: point the route to its table";
const LOGIN: &str = "check the destination's user and password, and that the login may connect to this database";
const BUSY: &str = "the service is busy or moves the database; it is tried again";
const ROOM: &str = "make room: free or add disk space, or back up the log";
const REPLICA: &str = "this replica or database takes no writes: point the destination to the primary";
const STARTING: &str = "the database is starting, restoring or offline";
const KEY_THERE: &str = "a row with this value of a unique key is there already";
const UNREADABLE: &str = "the value does not fit the column's type";
const TOO_BIG: &str = "the value is out of range";
const IN_MEMORY: &str = "a memory-optimized table can't be written with the locks that this needs: use a table on disk";
const ROUTINE: &str = "correct the table, its triggers and its functions, or the route";

/// The numbers that are known, each with what it is.
pub(super) static NUMBERS: &[(u32, Meaning)] = &[
    // Rows.
    (2627, Row("unique", KEY_THERE)), // a PRIMARY KEY or UNIQUE constraint
    (2601, Row("unique", KEY_THERE)), // a unique index
    (547, Row("foreign_key", "the row breaks a constraint")), // FOREIGN KEY, REFERENCE or CHECK: see `words`
    (550, Row("check", "the view's WITH CHECK OPTION refuses the row")), // WITH CHECK OPTION
    (515, Row("not_null", "it must not be NULL, and no value was given")), // NULL into NOT NULL
    (339, Row("not_null", "DEFAULT or NULL are not allowed as explicit identity values")), // NULL identity
    (2628, Row("too_long", "the value is too long")), // truncation, from 2019 on
    (8152, Row("too_long", "the value is too long")), // truncation, before
    (511, Row("too_long", "the row is longer than a page takes")), // over 8,060 bytes
    (1946, Row("too_long", "the key is longer than its index takes")), // over 900 or 1,700 bytes
    (8115, Row("range", TOO_BIG)),    // arithmetic overflow, converting
    (220, Row("range", TOO_BIG)),     // arithmetic overflow, tinyint and smallint
    (232, Row("range", TOO_BIG)),     // arithmetic overflow, float
    (244, Row("range", TOO_BIG)),     // text to tinyint or smallint
    (248, Row("range", TOO_BIG)),     // text to int
    (242, Row("range", "the date is out of the type's range")), // text to datetime
    (296, Row("range", "the date is out of the type's range")), // text to smalldatetime
    (517, Row("range", "the date is out of the type's range")), // date arithmetic in a computed column
    (236, Row("range", TOO_BIG)),     // text to money
    (237, Row("range", TOO_BIG)),     // money to something smaller
    (293, Row("range", TOO_BIG)),     // text to smallmoney
    (294, Row("range", TOO_BIG)),     // smallmoney to text
    (1007, Row("range", "the number has more digits than the server reads")), // over 38 digits
    (3606, Row("range", TOO_BIG)),    // arithmetic overflow
    (245, Row("type", UNREADABLE)),   // text to a number
    (241, Row("type", UNREADABLE)),   // text to a date or time
    (295, Row("type", UNREADABLE)),   // text to smalldatetime
    (235, Row("type", UNREADABLE)),   // text to money
    (8114, Row("type", UNREADABLE)),  // text to decimal, float, bigint
    (8169, Row("type", UNREADABLE)),  // text to uniqueidentifier
    (9400, Row("type", "the value is not XML the database takes")), // XML: illegal character and the like
    (9402, Row("type", "the XML names another encoding")), // XML: encoding="utf-8" within UTF-16
    (9410, Row("type", "the value is not XML the database takes")), // XML: whitespace expected
    (9411, Row("type", "the value is not XML the database takes")), // XML: semicolon expected
    (9420, Row("type", "the value is not XML the database takes")), // XML: illegal character
    (9436, Row("type", "the value is not XML the database takes")), // XML: end tag does not match
    (9455, Row("type", "the value is not XML the database takes")), // XML: illegal qualified name
    (6522, Row("type", "the value is not one the column's type reads")), // geography, geometry, hierarchyid
    (13609, Row("type", "the value is not JSON the database takes")), // JSON, malformed
    (8134, Row("other", "a computed column or a trigger divides by zero")), // divide by zero
    (512, Row("other", "a trigger's subquery returned more than one row")), // a trigger written for single rows
    (3609, Row("other", "a trigger rolled the transaction back")), // the transaction ended in the trigger
    (3616, Row("other", "a trigger failed on the row")), // an error in a trigger
    // Tables, routes, rights.
    (208, Hold(MAKE)),  // invalid object name
    (4701, Hold(MAKE)), // cannot find the object (TRUNCATE)
    (1088, Hold("create the table, or grant ALTER on it (a route that writes an IDENTITY column needs it)")), // no object, or no right
    (207, Hold(COLUMN)),                                                  // invalid column name
    (213, Hold(COLUMN)),                                                  // number of values
    (4104, Hold(COLUMN)),                                                 // identifier could not be bound
    (271, Hold(COMPUTED)),                                                // a computed column
    (272, Hold(COMPUTED)),                                                // a timestamp column, update
    (273, Hold(COMPUTED)),                                                // a timestamp column, insert
    (13536, Hold(COMPUTED)),                                              // GENERATED ALWAYS, insert
    (13537, Hold(COMPUTED)),                                              // GENERATED ALWAYS, update
    (544, Hold("the column became an IDENTITY: apply the route again")),  // explicit value for identity
    (8101, Hold("the column became an IDENTITY: apply the route again")), // explicit value for identity
    (8102, Hold("an IDENTITY column can't be updated: make it the route's key, or leave it out")), // update of identity
    (8106, Hold("the column is no IDENTITY any more: apply the route again")), // no identity property
    (206, Hold(TYPES)),                                                   // operand type clash
    (257, Hold(TYPES)),                                                   // implicit conversion not allowed
    (260, Hold(TYPES)),                                                   // disallowed implicit conversion
    (402, Hold(TYPES)),                                                   // incompatible in this operator
    (529, Hold(TYPES)),                                                   // explicit conversion not allowed
    (305, Hold("a column of this type can't be a key: choose another key")), // xml and the like can't be compared
    (306, Hold("a column of this type can't be a key: choose another key")), // text and image can't be compared
    (468, Hold("the column's collation has changed: it is looked at anew")), // collation conflict
    (451, Hold("the column's collation has changed: it is looked at anew")), // collation conflict
    (4405, Hold(VIEW)),                                                   // a view over several tables
    (4406, Hold(VIEW)),                                                   // a derived or constant field
    (4413, Hold(VIEW)),                                                   // a view that no longer binds
    (4416, Hold(VIEW)),                                                   // a view with a union
    (4418, Hold(VIEW)),                                                   // a view with a union and more
    (4421, Hold(VIEW)),                                                   // a derived table
    (229, Hold(GRANT)),                                                   // permission denied on an object
    (230, Hold(GRANT)),                                                   // permission denied on a column
    (262, Hold(GRANT)),                                                   // permission denied in the database
    (297, Hold(GRANT)),                                                   // no permission for this action
    (300, Hold(GRANT)),                                                   // a server permission
    (15151, Hold(GRANT)),                                                 // cannot find or no permission
    (15247, Hold(GRANT)),                                                 // no permission for this action
    (2760, Hold("create the schema, or grant ALTER on it")),              // schema missing, or no right to use it
    (2812, Hold(ROUTINE)),                                                // procedure not found
    (1934, Hold(ROUTINE)),    // SET options, for an index or a computed column
    (1935, Hold(ROUTINE)),    // SET options at creation
    (10794, Hold(IN_MEMORY)), // a hint that memory-optimized tables do not take
    (41333, Hold(IN_MEMORY)), // memory-optimized tables need snapshot isolation
    (217, Hold(ROUTINE)),     // triggers nested too deep
    (102, Hold("SQL Server 2016 and later understand what is sent here")), // syntax
    (156, Hold("SQL Server 2016 and later understand what is sent here")), // syntax near a keyword
    (195, Hold("SQL Server 2016 and later understand what is sent here")), // not a built-in function
    (2714, Hold("an object of this name is there already")), // for `define`
    (2705, Hold("a column of this name is there already")), // for `define`
    // The environment; the connection lasts.
    (1205, Wait("another transaction holds the rows, and the server chose this one to give way")), // deadlock
    (1222, Wait("another session holds a lock")), // lock request time-out
    (3960, Wait("another transaction changed the rows meanwhile")), // snapshot conflict
    (3961, Wait("the table was changed meanwhile")), // snapshot, metadata changed
    (3967, Wait(ROOM)),                           // tempdb's version store is full
    (1204, Wait("the server has no locks left")), // out of lock resources
    (701, Wait("the server is short of memory")), // out of memory
    (802, Wait("the server is short of memory")), // no buffer
    (8645, Wait("the server is short of memory")), // memory grant time-out
    (8651, Wait("the server is short of memory")), // memory below the minimum
    (8628, Wait("the server is overloaded")),     // optimiser time-out
    (1101, Wait(ROOM)),                           // no room in the filegroup
    (1105, Wait(ROOM)),                           // no room for the object
    (9002, Wait(ROOM)),                           // the transaction log is full
    (40544, Wait("the database has reached its size quota")), // Azure: size quota
    (3906, Wait(REPLICA)),                        // the database is read-only
    (3908, Wait(REPLICA)),                        // … in emergency or read-only mode
    (40627, Wait(BUSY)),                          // Azure: operation in progress
    (10928, Wait(BUSY)),                          // Azure: resource limit
    (10929, Wait(BUSY)),                          // Azure: resource guarantee
    (40549, Wait("the service ended a transaction that took too long")), // Azure: long transaction
    (3930, Wait("the transaction was doomed")),   // uncommittable transaction
    (3998, Wait("the transaction was doomed")),   // uncommittable at the batch's end
    (266, Wait("a trigger began or ended a transaction")), // transaction count
    (3902, Wait("a trigger ended the transaction")), // COMMIT without BEGIN
    (3971, Wait("the server could not go on with the transaction")), // failed to resume
    // The environment, and the connection is gone.
    (18456, Lost(LOGIN)), // login failed
    (18450, Lost(LOGIN)), // … not trusted
    (18452, Lost(LOGIN)), // … untrusted domain
    (18470, Lost(LOGIN)), // … account disabled
    (18486, Lost(LOGIN)), // … account locked out
    (18487, Lost(LOGIN)), // … password expired
    (18488, Lost(LOGIN)), // … password must be changed
    (4060, Lost("check the database's name in the url, and that the login may connect to it")), // cannot open database
    (4064, Lost("check the database's name in the url, and that the login may connect to it")), // cannot open default
    (911, Lost("check the database's name in the url")), // database does not exist
    (916, Lost("make a user for the login in this database")), // login is no user of the database
    (40615, Lost("add this machine's address to the server's firewall rules")), // Azure: firewall
    (40914, Lost("add this machine's network to the server's firewall rules")), // Azure: virtual network
    (18401, Lost(STARTING)), // script upgrade mode
    (18461, Lost("the server is in single-user mode")), // single user
    (17142, Lost("the server is paused")), // paused
    (17809, Lost("the server's limit of connections is reached")), // user connections
    (10922, Lost("the server's limit of connections is reached")), // sessions of the pool
    (6005, Lost("the server is shutting down")), // SHUTDOWN in progress
    (921, Lost(STARTING)), // not recovered yet
    (922, Lost(STARTING)), // being recovered
    (924, Lost("the database is in single-user mode")), // single user
    (927, Lost(STARTING)), // restoring
    (942, Lost(STARTING)), // offline
    (945, Lost(STARTING)), // inaccessible files or memory
    (952, Lost(STARTING)), // in transition
    (954, Lost(REPLICA)), // mirroring partner
    (976, Lost(REPLICA)), // secondary without read access
    (978, Lost(REPLICA)), // secondary for read intent only
    (979, Lost(REPLICA)), // secondary without read access
    (983, Lost(REPLICA)), // replica between roles
    (40197, Lost(BUSY)),  // Azure: failover or upgrade
    (40501, Lost(BUSY)),  // Azure: busy
    (40540, Lost(BUSY)),  // Azure: transaction ended, moved
    (40613, Lost(BUSY)),  // Azure: database not available
    (49918, Lost(BUSY)),  // Azure: not enough resources
    (49919, Lost(BUSY)),  // Azure: too many create or update operations
    (49920, Lost(BUSY)),  // Azure: too many operations
    (40550, Lost(BUSY)),  // Azure: too many locks
    (40551, Lost(BUSY)),  // Azure: too much tempdb
    (40552, Lost(BUSY)),  // Azure: too much log
    (40553, Lost(BUSY)),  // Azure: too much memory
    (4221, Lost(BUSY)),   // Azure: replica not ready for logins
    (596, Lost("a DBA or the server ended the session")), // session in the kill state
    (233, Lost("the server closed the connection")), // no process at the other end
    (10053, Lost("the connection was cut")), // aborted by this side's host
    (10054, Lost("the connection was cut")), // reset by the peer
    (8107, Lost("IDENTITY_INSERT was left on by an earlier error")), // ON for another table
    (823, Lost("the server's disk fails: look at its error log")), // I/O error
    (824, Lost("the database is damaged: look at the server's error log")), // logical I/O error
];

/// What an error of this number and severity means. Unknown ones go by severity (*Database Engine error severities*): 14 are
/// rights, 15 is syntax, 13 and 17 to 19 are resources, from 20 on the connection ends, and what is left is raised for a row.
pub(super) fn meaning(number: u32, severity: u8) -> Meaning {
    match NUMBERS.iter().find(|(known, _)| *known == number) {
        // Severe errors end the connection whatever their number is.
        Some((_, Wait(remedy))) if severity >= 20 => Lost(remedy),
        Some((_, meaning)) => *meaning,
        None => match severity {
            14 => Hold(GRANT),
            15 => Hold(ROUTINE),
            13 | 17..=19 => Wait("it is tried again"),
            20.. => Lost("look at the server's error log"),
            _ if number >= 50_000 => Row("other", "a trigger refused the row"),
            _ => Row("other", "the row breaks a rule of the table"),
        },
    }
}
