<?php
// A worker as queues of web frameworks run it: one process that takes entries from a consumer group and writes each into
// one database after the other, one INSERT of the mapped columns, and one row of a log for each; then XACK. It boots no
// framework, which makes it faster than a real one. The clock runs from the first entry it is given to the last
// acknowledgement.
// usage: php worker.php '{"redis": port, "stream": name, "records": n, "persistent": bool, "log": [port, name],
//   "databases": [["postgres"|"mysql", port, name], ...]}'; prints {"seconds": s}.
$task = json_decode($argv[1], true);

function connect(string $kind, int $port, string $database, bool $persistent): PDO
{
    $driver = $kind === 'postgres' ? 'pgsql' : 'mysql';
    $user = $kind === 'postgres' ? 'postgres' : 'root';
    return new PDO("$driver:host=127.0.0.1;port=$port;dbname=$database", $user, '', [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_PERSISTENT => $persistent,
    ]);
}

const COLUMNS = ['id', 'car_name', 'stock', 'price'];
$insert = 'INSERT INTO cars (' . implode(', ', COLUMNS) . ') VALUES (?, ?, ?, ?)';

$redis = new Redis();
$redis->connect('127.0.0.1', $task['redis']);
$redis->xGroup('CREATE', $task['stream'], 'workers', '0');
// The framework keeps the connection to its own database for the life of the worker.
$log = connect('mysql', $task['log'][0], $task['log'][1], true);
$done = 0;
$start = null;
while ($done < $task['records']) {
    $entries = $redis->xReadGroup('workers', 'worker', [$task['stream'] => '>'], 10, 2000);
    $start ??= microtime(true);
    if (!$entries) {
        fwrite(STDERR, "nothing more after $done\n");
        exit(1);
    }
    foreach ($entries[$task['stream']] as $id => $fields) {
        $record = json_decode($fields['d'], true);
        foreach ($task['databases'] as [$kind, $port, $name]) {
            $database = connect($kind, $port, $name, $task['persistent']);
            $database->query('SELECT 1')->fetchAll();
            $database->prepare($insert)->execute(array_map(fn ($column) => $record[$column], COLUMNS));
            $log->prepare('INSERT INTO sync_logs (entry, target, status, created_at) VALUES (?, ?, ?, NOW())')
                ->execute([$id, $name, 'success']);
            $database = null;
        }
        $redis->xAck($task['stream'], 'workers', [$id]);
        $done++;
    }
}
echo json_encode(['seconds' => microtime(true) - $start]), "\n";
