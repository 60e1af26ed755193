// See pangu_link_test in cmake/Pangu.cmake: that this links is the test.
int main() { return 0; }
