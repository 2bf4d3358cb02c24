create table readings (
  sensor varchar(20) not null,
  at {datetime} not null,
  kelvin decimal(6, 2) not null,
  humidity integer not null,
  primary key (sensor, at)
);
