<?php
// A PHP application with sessions in memcached, by nothing but settings (see drive.py): it logs in, counts and logs out.
// The count is read, worked on and written back, so that it is right only if the session is locked meanwhile.
session_start();
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path === '/login') {
    $_SESSION = ['username' => $_POST['username'], 'count' => 0];
    echo 'welcome';
} elseif ($path === '/count') {
    $count = $_SESSION['count'];
    usleep(2000);
    $_SESSION['count'] = $count + 1;
    echo $_SESSION['count'];
} elseif ($path === '/logout') {
    session_destroy();
    echo 'bye';
} else {
    echo isset($_SESSION['username']) ? "{$_SESSION['username']} {$_SESSION['count']}" : 'nobody';
}
