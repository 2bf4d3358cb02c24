create table item_prices (name varchar(80) primary key, price decimal(14, 2) not null);
create table item_kinds (name varchar(80) primary key, category varchar(40), type varchar(40));
create table item_archive (name varchar(80) primary key, record {json} not null);
